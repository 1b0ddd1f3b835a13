"""Patience: how long one waits for a tree, and what is said meanwhile."""

import logging
from collections.abc import Awaitable, Callable

from treeroll.checks import is_number
from treeroll.client.status import RunStatus
from treeroll.errors import InvalidInput, Stalled

log = logging.getLogger(__name__)

# Who waits without an end is told this often how the run stands, seconds.
TOLD_EVERY_S = 30.0


class Patience:
    """Of one wait for trees of a run. Runs on the channel's event loop."""

    def __init__(
        self,
        status: Callable[[], Awaitable[RunStatus]],
        timeout_s: float | None,
        clock: Callable[[], float],
        vain: Callable[[RunStatus], str] = lambda _: "",
    ) -> None:
        """`timeout_s`: the longest time without a tree, by the `clock`, which stands still while no service is there;
        None: as long as trees may come. `vain` says why nothing will come of a run that stands so, because of who
        waits; "" if something may."""
        self._status = status
        self._vain = vain
        self._timeout_s = timeout_s
        self._clock = clock
        self._since = self._told = self._clock()
        self._doomed = False

    def at_most(self, wait_s: float) -> float:
        """So many seconds, or as many as are left."""
        if self._timeout_s is None:
            return wait_s
        return min(wait_s, max(self._since + self._timeout_s - self._clock(), 0.0))

    def renew(self) -> None:
        """A tree came."""
        self._since = self._told = self._clock()
        self._doomed = False

    async def nothing_came(self, holding: bool, missing: str = "no tree") -> None:
        """Raise Stalled if time is over, if nothing will come to one who holds nothing, or if who waits is in the way;
        say now and then what is.

        That nothing will come counts when it is heard a second time: what ended meanwhile has been asked for then.
        """
        silent_s = self._clock() - self._since
        over = self._timeout_s is not None and silent_s >= self._timeout_s
        due = self._clock() - self._told >= TOLD_EVERY_S
        if holding and not over and not due:
            return
        status = await self._status()
        vain = self._vain(status)
        said = f"{missing} for {silent_s:.0f} s: {'; '.join(filter(None, (standing(status), vain)))}"
        if over or (self._doomed and ((status.stuck and not holding) or vain)):
            raise Stalled(said)
        self._doomed = bool(status.stuck or vain)
        if due:
            self._told = self._clock()
            log.warning("%s", said)


def standing(status: RunStatus) -> str:
    """How a run stands, for people who wait for it."""
    said = f"run {status.state}, {status.waiting} waiting, {status.growing} growing, {status.replicas} replicas ready"
    if status.replicas_starting:
        said += f" and {status.replicas_starting} starting"
    return "; ".join([said, *filter(None, (status.held_up, status.stuck))])


def check_timeout(timeout_s: float | None) -> None:
    """InvalidInput for a time that is none."""
    if timeout_s is not None and not (is_number(timeout_s) and timeout_s > 0):
        raise InvalidInput(f"timeout_s must be greater than 0, got {timeout_s}")
