"""Long-tailed completion lengths, drawn segment by segment from keys: no schedule can change them (ForkBlind)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Completion lengths whose logarithm is normal: half are longer than `median` tokens, and some are much longer."""

    median: float
    sigma: float

    def below(self, tokens: float) -> float:
        """Share of completions of at most so many tokens."""
        if tokens <= 0:
            return 0.0
        return 0.5 * (1.0 + math.erf(math.log(tokens / self.median) / (self.sigma * math.sqrt(2.0))))

    def hazards(self, ends: Sequence[int]) -> list[float]:
        """For segments that end after `ends` completion tokens, the chance that a path which enters one ends there."""
        chances = []
        for start, end in pairwise([0, *ends]):
            alive = 1.0 - self.below(start)
            chances.append((self.below(end) - self.below(start)) / alive if alive > 0.0 else 1.0)
        return chances


def path_ends(
    seed: int, boundaries: Sequence[int], hazards: Sequence[float], start: int, most: int
) -> tuple[list[int], bool]:
    """Totals at the ends of a path's next segments, at most `most`, and whether the path ends by itself at the last.

    `boundaries` are those still to come, `hazards` has one for each segment of a path from its prompt on, and `start`
    is the total now. Draws are keyed by what is left of the path: the same however often a branch is granted anew.
    """
    left = len(boundaries)
    for done, hazard in enumerate(hazards[-left:][:most]):
        draw = uniform(seed, left - done)
        if draw < hazard:
            before = boundaries[done - 1] if done else start
            return [*boundaries[:done], before + 1 + int(draw / hazard * (boundaries[done] - before))], True
    return list(boundaries[:most]), False


def uniform(seed: int, key: int) -> float:
    """Uniform in [0, 1) from two numbers (splitmix64): drawn for every segment, where a cryptographic hash is slow."""
    x = (seed + (key + 1) * 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((x ^ (x >> 31)) >> 11) * 2.0**-53
