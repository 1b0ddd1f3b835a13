"""Interrupts: Ctrl-C once asks for a clean end, twice ends at once."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeVar

from treeroll import clock
from treeroll.errors import TreerollError

T = TypeVar("T")

# A scheduler's SIGTERM and a closed terminal are treated as a Ctrl-C: keep what is complete.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# `timeout` and process managers signal a process and then its group: that is one request, not two. Fingers are two.
ONE_REQUEST_S = 0.5


def heeded() -> list[signal.Signals]:
    """The signals that ask for an end: a closed terminal does not, under `nohup`."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in SIGNALS if not (ignored and number == signal.SIGHUP)]


class Interrupted(TreerollError):
    """Somebody pressed Ctrl-C before there was anything to keep."""

    def __init__(self) -> None:
        super().__init__("stopped before anything was grown; nothing was written")


class Interrupts:
    """Handles signals inside a running event loop, as a context."""

    def __init__(self, on_second: Callable[[], None]) -> None:
        """`on_second` must end the process."""
        self.asked = asyncio.Event()
        self._on_second = on_second
        self._heeded = heeded()
        self._first_at = 0.0

    def __enter__(self) -> "Interrupts":
        for number in self._heeded:
            asyncio.get_running_loop().add_signal_handler(number, self._handle, number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._heeded:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _handle(self, number: signal.Signals) -> None:
        now = clock.monotonic()
        if not self.asked.is_set():
            self._first_at = now
            self.asked.set()
        elif number == signal.SIGINT or now - self._first_at > ONE_REQUEST_S:
            self._on_second()

    async def unless_asked(self, work: Awaitable[T]) -> T:
        """The work's result; Interrupted, and the work cancelled, if Ctrl-C comes first."""

        async def asked() -> None:
            await self.asked.wait()
            raise Interrupted

        return await unless(work, asked())


async def unless(work: Awaitable[T], trouble: Awaitable[None]) -> T:
    """The work's result, unless `trouble` raises first: then that is raised, and the work cancelled."""
    main, watch = asyncio.ensure_future(work), asyncio.ensure_future(trouble)
    try:
        await asyncio.wait([main, watch], return_when=asyncio.FIRST_COMPLETED)
        if not main.done():
            await watch
        return await main
    finally:
        for task in (main, watch):
            task.cancel()
        await asyncio.gather(main, watch, return_exceptions=True)
