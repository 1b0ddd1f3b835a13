"""Clipping: how far a trajectory's policy ratio may move, by how sure its end was."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from treeroll.errors import InvalidInput
from treeroll.records.fields import Float32, Sample


@dataclass(frozen=True, slots=True)
class ClipRange:
    """eps = lowest + (highest - lowest) * sigmoid(slope * (1 - C)), C the mean confidence of the last `tail` tokens.

    The defaults are ECHO's (arXiv 2602.02150): C is within 0..1, so eps is .125 after a sure end and up to .197 after
    an unsure one; `lowest` itself is never reached. A completion of fewer tokens is its own tail.

    Ours: a token's confidence is the probability with which it was sampled; ECHO's is the mean probability of the top
    candidates, which records do not keep.
    """

    lowest: float = 0.05
    highest: float = 0.2
    slope: float = 4.0
    tail: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.highest <= 1:
            raise InvalidInput(
                f"a clip range needs 0 < lowest <= highest <= 1, got lowest={self.lowest} and highest={self.highest}"
            )
        if not 0 <= self.slope <= 1000:
            raise InvalidInput(f"slope must be 0 to 1000, got {self.slope}")
        if self.tail < 1:
            raise InvalidInput(f"tail must be 1 or more tokens, got {self.tail}")


def clip_ranges(samples: Sequence[Sample], rule: ClipRange) -> Float32:
    """eps of each sample, [B]: for a loss that clips ratios to 1 - eps .. 1 + eps."""
    sure = np.array([np.exp(sample.logprobs[-rule.tail :], dtype=np.float64).mean() for sample in samples])
    share = 1 / (1 + np.exp(-rule.slope * (1 - sure)))
    return (rule.lowest + (rule.highest - rule.lowest) * share).astype(np.float32)
