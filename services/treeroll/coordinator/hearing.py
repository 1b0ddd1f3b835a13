"""Hearing: a process that was held up has heard nobody meanwhile, so that nobody's silence counts for that time."""

import math

from treeroll import clock


class Hearing:
    """Of one process. Whoever lets time pass looks about every `every_s` seconds."""

    def __init__(self, every_s: float) -> None:
        self.every_s = every_s
        self._looked_at = math.inf
        self._since = -math.inf  # then it was held up last

    def look(self) -> bool:
        """Whether this process was held up since the last look: this one comes much too late."""
        now = clock.monotonic()
        if held_up := self._held_up(now):
            self._since = now
        self._looked_at = now
        return held_up

    def silent_s(self, heard_at: float) -> float:
        """Seconds for which somebody who was heard last at this time could have been heard, and was not."""
        now = clock.monotonic()
        return (self._looked_at if self._held_up(now) else now) - max(heard_at, self._since)

    def _held_up(self, now: float) -> bool:
        return now - self._looked_at >= 2 * self.every_s
