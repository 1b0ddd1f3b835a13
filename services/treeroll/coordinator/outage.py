"""Outages of the store: a pause of the service, not its end. Who needs an answer to go on waits here until it comes.

What is asked must be safe to ask again: commits are numbered, reads change nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from treeroll import clock
from treeroll.errors import StoreDown

log = logging.getLogger(__name__)

T = TypeVar("T")

# Between two tries, seconds: each pause is twice the last, so that recovery follows the end of an outage at once.
FIRST_S, LONGEST_S = 0.1, 0.5


class Outage:
    """Whether the store is away just now, since when and why."""

    def __init__(self) -> None:
        self.since: float | None = None
        """Seconds since the Unix epoch; None while the store answers."""
        self.reason = ""
        self.full = False
        """It is out of memory: writes come to it in vain until it has room."""
        self.on_change: list[Callable[[], None]] = []
        """Called when it begins and when it ends."""
        self.on_over: list[Callable[[float, str], None]] = []
        """Called when it has ended, with how long it took, seconds, and why."""
        self.over = False
        """It went back in time: who waits for it here waits in vain, but it is taken up again from what it has."""
        self._waiting = 0
        self._began = 0.0

    def refusal(self) -> StoreDown:
        """What callers are told meanwhile."""
        if self.over:
            return StoreDown(f"the service reads its store anew: {self.reason}; try again in {LONGEST_S:g} s")
        lasts_s = clock.monotonic() - self._began
        return StoreDown(
            f"the service waits for its store, for {lasts_s:.0f} s now, and loses nothing: {self.reason}; try again in "
            f"{LONGEST_S:g} s"
        )

    def end(self, why: str) -> None:
        """The store went back in time. Nothing is done here any more: calls are refused from now on."""
        self.over, self.since, self.reason = True, clock.wall(), why
        self._tell()

    async def ride_out(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` returns, however long the store is away. Raises all that is no StoreDown."""
        try:
            return await ask()
        except StoreDown as error:
            self._begin(error)
        try:
            return await self._again(ask)
        finally:
            self._end()

    async def _again(self, ask: Callable[[], Awaitable[T]]) -> T:
        pause_s = FIRST_S
        while True:
            await asyncio.sleep(pause_s)
            try:
                return await ask()
            except StoreDown as error:
                self.reason, self.full = str(error), error.full
            pause_s = min(2 * pause_s, LONGEST_S)

    def _begin(self, error: StoreDown) -> None:
        self._waiting += 1
        self.reason, self.full = str(error), error.full
        if self.since is None:
            self.since, self._began = clock.wall(), clock.monotonic()
            log.error("the service waits for its store: %s", error)
            self._tell()

    def _end(self) -> None:
        self._waiting -= 1
        if not self._waiting and not self.over:
            lasted_s, reason = clock.monotonic() - self._began, self.reason
            log.warning("the service has waited %.1f s for its store", lasted_s)
            self.since, self.reason, self.full = None, "", False
            self._tell()
            for told in self.on_over:
                told(lasted_s, reason)

    def _tell(self) -> None:
        for told in self.on_change:
            told()
