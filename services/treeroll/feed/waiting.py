"""How consumers wait for trees, and what they are told when none will come."""

import asyncio

from treeroll import clock
from treeroll.core.model.run import Outlook
from treeroll.errors import Drained

# How often a waiting consumer looks for expired leases of others.
RECHECK_S = 0.5


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
    async def wait(news: asyncio.Event, deadline: float) -> bool:
        """Wait for news, a while, or until the deadline on the monotonic clock; whether there is time left."""
        left = deadline - clock.monotonic()
        if left <= 0:
            return False
        try:
            async with asyncio.timeout(min(left, RECHECK_S)):
                await news.wait()
        except TimeoutError:
            pass
        return True


def drained(run_id: str, outlook: Outlook) -> Drained:
    """The error for a consumer that has all that will end before a drain is taken back."""
    return Drained(
        f"the service drains: {outlook.waiting} tasks of run '{run_id}' wait and are not grown; "
        "`treeroll undrain` has them grown, or submit them to another service"
    )
