"""Requests that an engine has forgotten: it decodes others, lets none wait, and makes no token for these.

From outside a request that waits for its turn looks the same, and so does one in an engine that stands still. So only
time counts in which the engine says that nothing waits, and in which it made tokens for others.
"""

from collections.abc import Mapping

from treeroll.generator.engine import EngineStats

# So much such time without a token is no accident, seconds. A prompt that is computed in parts beside others' decoding
# takes less.
STALLED_S = 60.0
# One look vouches for no more, however late it comes: the process may have stood still.
LONGEST_LOOK_S = 2.0


class Stalls:
    """Looks at an engine's requests again and again."""

    def __init__(self) -> None:
        self._tokens: dict[int, int] = {}
        self._silent_s: dict[int, float] = {}
        self._looked_at: float | None = None

    def look(self, now: float, stats: EngineStats, tokens: Mapping[int, int]) -> list[int]:
        """Grants that the engine has forgotten. `tokens`: grant -> what it made for each so far; `now`: monotonic."""
        passed_s = min(now - self._looked_at, LONGEST_LOOK_S) if self._looked_at is not None else 0.0
        moved = {grant for grant, made in tokens.items() if made != self._tokens.get(grant, 0)}
        silent_s: dict[int, float] = {}
        for grant in tokens:
            if grant in moved or grant not in self._tokens:
                silent_s[grant] = 0.0
            else:
                counts = bool(moved) and not stats.waiting
                silent_s[grant] = self._silent_s[grant] + (passed_s if counts else 0.0)
        self._looked_at, self._tokens, self._silent_s = now, dict(tokens), silent_s
        return [grant for grant, seconds in silent_s.items() if seconds >= STALLED_S]
