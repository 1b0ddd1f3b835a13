"""How consumers wait for trees, and what they are told when none will come."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from treeroll import clock
from treeroll.core.model.run import Outlook
from treeroll.errors import Drained

# How often a waiting consumer looks for expired leases of others.
RECHECK_S = 0.5
# Many that wait for the same look in turns, and so each of them this much more seldom.
LOOKERS = 20

Found = TypeVar("Found")


class News:
    """Wakes consumers of runs."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}

    def notify(self, run_id: str) -> None:
        """A tree of the run ended, or the run changed state."""
        event = self._events.pop(run_id, None)
        if event is not None:
            event.set()

    def of(self, run_id: str) -> asyncio.Event:
        """Set at the next news; to be asked for before one looks what is there."""
        return self._events.setdefault(run_id, asyncio.Event())

    @staticmethod
    async def wait(news: asyncio.Event, deadline: float, recheck_s: float = RECHECK_S) -> bool:
        """Wait for news, a while, or until the deadline on the monotonic clock; whether there is time left."""
        left = deadline - clock.monotonic()
        if left <= 0:
            return False
        try:
            async with asyncio.timeout(min(left, recheck_s)):
                await news.wait()
        except TimeoutError:
            pass
        return True


@dataclass(slots=True)
class Crowd:
    """Consumers that wait for the same: what one has looked for in vain, the others need not look for."""

    size: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    vain: asyncio.Event | None = None
    """The news that was still to come when one looked in vain."""
    looked_at: float = 0.0

    @property
    def recheck_s(self) -> float:
        """How long each of them waits before it looks whether it is time to look."""
        return RECHECK_S * max(1.0, self.size / LOOKERS)

    async def look(self, news: asyncio.Event, look: Callable[[], Awaitable[Found | None]]) -> Found | None:
        """What `look` finds; None, without looking, if another one has just looked and there was no news since."""
        async with self.turn:
            if self.vain is news and clock.monotonic() - self.looked_at < RECHECK_S:
                return None
            found = await look()
            if found is None:
                self.vain, self.looked_at = news, clock.monotonic()
            return found


class Crowds:
    """Of all that consumers wait for."""

    def __init__(self) -> None:
        self._crowds: dict[Hashable, Crowd] = {}

    @contextmanager
    def joined(self, what: Hashable) -> Iterator[Crowd]:
        """Those who wait for this; one more as long as the context lasts."""
        crowd = self._crowds.setdefault(what, Crowd())
        crowd.size += 1
        try:
            yield crowd
        finally:
            crowd.size -= 1
            if not crowd.size:
                del self._crowds[what]


def drained(run_id: str, outlook: Outlook) -> Drained:
    """The error for a consumer that has all that will end before a drain is taken back."""
    return Drained(
        f"the service drains: {outlook.waiting} tasks of run '{run_id}' wait and are not grown; "
        "`treeroll undrain` has them grown, or submit them to another service"
    )
