"""How fast a replica makes tokens, from what it says it has made."""

from collections import deque

# A speed is that of so many seconds, from counts so many seconds apart.
OVER_S, APART_S = 120.0, 10.0


class Speed:
    """Of one incarnation, which counts from 0."""

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self._counts: deque[tuple[float, int]] = deque(maxlen=round(OVER_S / APART_S))

    def per_s(self, now: float, tokens: int) -> float | None:
        """Tokens in a second, with so many in all by now (seconds); None before there is a count to compare with."""
        counts = self._counts
        if not counts or now - counts[-1][0] >= APART_S:
            counts.append((now, tokens))
        first_at, first = counts[0]
        return (tokens - first) / (now - first_at) if now - first_at >= APART_S else None
