"""Absence: that nobody serves a channel's calls just now, since when, and what is said of it meanwhile."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

# Who waits for a service is told so after this long, and then this often, seconds.
TOLD_AFTER_S, TOLD_EVERY_S = 5.0, 30.0


class Absence:
    """Of one service: it lasts while a call is repeated that was not answered. Runs on the channel's event loop."""

    def __init__(self, address: str, clock: Callable[[], float]) -> None:
        """`clock` gives seconds and never jumps."""
        self._address = address
        self._clock = clock
        self._waiting = 0  # calls that are repeated
        self._since = 0.0
        self._over_s = 0.0  # all absences that are over, together
        self._told: float | None = None

    def clock(self) -> float:
        """Seconds on a clock that stands still during an absence, for who waits for what only the service can bring."""
        return (self._since if self._waiting else self._clock()) - self._over_s

    @contextmanager
    def noted(self) -> Iterator[Callable[[str], None]]:
        """Gives what is to be called, with the reason, whenever a call has to be repeated."""
        missed = False

        def miss(reason: str) -> None:
            nonlocal missed
            if not missed:
                missed = True
                self._begin()
            self._tell(reason)

        try:
            yield miss
        finally:
            if missed:
                self._end()

    def _begin(self) -> None:
        if not self._waiting:
            self._since, self._told = self._clock(), None
        self._waiting += 1

    def _tell(self, reason: str) -> None:
        now = self._clock()
        due = self._since + TOLD_AFTER_S if self._told is None else self._told + TOLD_EVERY_S
        if now >= due:
            self._told = now
            log.warning("waiting for the service at %s, for %.0f s now: %s", self._address, now - self._since, reason)

    def _end(self) -> None:
        self._waiting -= 1
        if self._waiting:
            return
        lasted_s = self._clock() - self._since
        self._over_s += lasted_s
        if self._told is not None:
            log.warning("the wait for the service at %s is over after %.0f s", self._address, lasted_s)
