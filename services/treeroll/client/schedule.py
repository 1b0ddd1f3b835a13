"""Schedule: which part of a trajectory is trained on when."""

from dataclasses import dataclass

import numpy as np

from treeroll.errors import InvalidInput
from treeroll.records.fields import Float32

Window = tuple[float, float]


@dataclass(frozen=True, slots=True)
class TokenSchedule:
    """A window on the completion that moves with training: tokens inside weigh 1, all others `outside`.

    Windows are (from, to) in shares of the completion's length. Both ends go from those of `start` to those of `end`
    in proportion to progress:

    - early tokens first, then all:  TokenSchedule((0, 0.25))
    - late tokens first, then all:   TokenSchedule((0.75, 1))
    - a window that slides along:    TokenSchedule((0, 0.25), (0.75, 1))

    Ours: no paper that we know gives an exact rule. Token i of C lies between i / C and (i + 1) / C, and counts as
    inside by the share of it that is; so a window holds the same share of every completion, however short, is never
    empty, and moves without jumps. Weights are not scaled back to a mean of 1.
    """

    start: Window
    end: Window = (0.0, 1.0)
    outside: float = 0.0

    def __post_init__(self) -> None:
        for name, (low, high) in (("start", self.start), ("end", self.end)):
            if not 0 <= low < high <= 1:
                raise InvalidInput(f"{name} must be two shares of a completion, 0 <= from < to <= 1, got {low}, {high}")
        if not 0 <= self.outside < 1:
            raise InvalidInput(f"outside must be 0 or more and below 1, got {self.outside}")


def scheduled(tokens: int, progress: float, schedule: TokenSchedule) -> Float32:
    """Weights of a completion's tokens, [tokens], when `progress` (0..1) of training is done."""
    low, high = (
        at_start + progress * (at_end - at_start) for at_start, at_end in zip(schedule.start, schedule.end, strict=True)
    )
    edges = np.arange(tokens + 1) / max(tokens, 1)
    inside = np.diff(edges.clip(low, high)) * tokens
    return (schedule.outside + (1 - schedule.outside) * inside).astype(np.float32)
