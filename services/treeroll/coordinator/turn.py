"""Taking turns at trees that have ended, over outages of the store."""

import asyncio
from types import TracebackType

from treeroll.coordinator.loop import Coordinator
from treeroll.errors import StoreDown


class Turn:
    """Held by who reads trees that have ended and then writes to them, or removes them: `async with turn`.

    Who is told that the store is away does not know whether its commit is on its way still. Whoever comes next waits
    for that: it would read what is not so any more, or remove trees that then get a header and rewards, but no nodes.
    """

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._lock = asyncio.Lock()
        self._is_unsure = False

    async def __aenter__(self) -> None:
        """StoreDown while the store is away, if what came before is still on its way to it."""
        await self._lock.acquire()
        try:
            if self._is_unsure:
                await self._coordinator.confirm()
                self._is_unsure = False
        except BaseException:
            self._lock.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, StoreDown | asyncio.CancelledError):
            self._is_unsure = True
        self._lock.release()
