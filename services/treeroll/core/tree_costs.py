"""What whole trees of a run have cost lately."""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field

KEPT = 256


@dataclass(slots=True)
class TreeCosts:
    """Tokens of the last `KEPT` trees that ended whole."""

    recent: deque[int] = field(default_factory=deque)
    ranked: list[int] = field(default_factory=list)

    def add(self, tokens: int) -> None:
        """A tree ended."""
        if len(self.recent) == KEPT:
            del self.ranked[bisect_left(self.ranked, self.recent.popleft())]
        self.recent.append(tokens)
        insort(self.ranked, tokens)

    @property
    def p75(self) -> int | None:
        """The smallest cost that three quarters of them do not exceed; None before there is one."""
        count = len(self.ranked)
        return self.ranked[-(-3 * count // 4) - 1] if count else None
