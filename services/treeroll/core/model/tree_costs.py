"""What whole trees of a run have taken lately, of tokens or of leaves."""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field

KEPT = 256


@dataclass(slots=True)
class TreeCosts:
    """What the last `KEPT` trees that ended whole took."""

    recent: deque[int] = field(default_factory=deque)
    ranked: list[int] = field(default_factory=list)

    def add(self, taken: int) -> None:
        """A tree ended."""
        if len(self.recent) == KEPT:
            del self.ranked[bisect_left(self.ranked, self.recent.popleft())]
        self.recent.append(taken)
        insort(self.ranked, taken)

    @property
    def p75(self) -> int | None:
        """The least that three quarters of them did not exceed; None before there is one."""
        count = len(self.ranked)
        return self.ranked[-(-3 * count // 4) - 1] if count else None
