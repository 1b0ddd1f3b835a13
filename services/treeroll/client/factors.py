"""Token factors: advantages grow where the model was unsure, and shrink where it was sure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from treeroll.client.weights import whitened
from treeroll.errors import InvalidInput
from treeroll.records.fields import Float32, Sample


@dataclass(frozen=True, slots=True)
class TokenFactor:
    """A token's advantage A becomes A * (1 + strength * S), where
    S = entropy_weight * z(H) + confidence_weight * z(1 - C), held within +-clamp.

    z(x) is (x - mean) / sqrt(var + 1e-8) over the batch's tokens with credit that are trained on. The rule and the
    defaults are those of ECHO (arXiv 2602.02150) and its release, which clamps the sum. AEPO's A * (1 + a * zscore(H))
    (arXiv 2510.14545, read in secondary sources) is TokenFactor(a, confidence_weight=0, clamp=math.inf).

    Ours, because of what a record holds: H is the record's entropy, an upper bound from the `top_logprobs` candidates;
    and C is the probability with which the token itself was sampled, where ECHO has the mean probability of the
    candidates, which no record keeps. On average over what could have been sampled, C is the sum of p^2: 1 for a
    certain token, 1 / V for V equally likely ones. But an unlikely token that was sampled among sure ones counts as
    unsure here, and not for ECHO.

    Ours also: a factor is never below 0, so that no advantage changes sign; ECHO's never gets there. AEPO's `a` is in
    none of our sources. ECHO's additive term, whose default is 0, and AEPO's clip rule are left out.
    """

    strength: float = 0.1
    entropy_weight: float = 1.0
    confidence_weight: float = 1.0
    clamp: float = 2.0
    """math.inf: S may be anything."""

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise InvalidInput(f"strength must be above 0 and at most 1, got {self.strength}")
        for name in ("entropy_weight", "confidence_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(f"{name} must be a number of 0 or more, got {getattr(self, name)}")
        if not self.entropy_weight + self.confidence_weight > 0:
            raise InvalidInput("entropy_weight and confidence_weight are both 0, so the factor would always be 1")
        if not self.clamp > 0:
            raise InvalidInput(f"clamp must be above 0, got {self.clamp}")


def token_factors(
    factor: TokenFactor,
    entropies: NDArray[np.float32] | None,
    logprobs: NDArray[np.float32],
    mask: NDArray[np.int64],
) -> NDArray[np.float32]:
    """What to multiply advantages by, [B, C]; 1 on tokens with mask 0, which are not in the statistics either.

    `entropies` (nats) may be None if entropy_weight is 0. As for `treeroll.client.weights.whitened`, a trainer with
    several processes gathers all three arrays first if it wants the statistics of the global batch.
    """
    score = np.zeros(logprobs.shape, np.float32)
    if entropies is not None and factor.entropy_weight:
        score += factor.entropy_weight * whitened(entropies, mask)
    if factor.confidence_weight:
        score += factor.confidence_weight * whitened(1 - np.exp(logprobs), mask)
    return np.maximum(1 + factor.strength * score.clip(-factor.clamp, factor.clamp), 0)


def entropies_of(samples: Sequence[Sample]) -> list[Float32]:
    """The entropies of each sample's tokens; InvalidInput if one has none."""
    for sample in samples:
        if len(sample.entropies) != len(sample.completion_ids):
            raise InvalidInput(
                f"sample {sample.sample_id} has no entropies for a token factor: create the run with top_logprobs "
                "of 1 to 20, or use TokenFactor(entropy_weight=0)"
            )
    return [sample.entropies for sample in samples]
