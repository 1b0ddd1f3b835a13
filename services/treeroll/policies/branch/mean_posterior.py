"""What is known of the mean of rewards: a posterior to draw from, for Thompson sampling."""

import math
from typing import Final

from treeroll.tree.rng import Key, student_t

# The prior of treequest's AB-MCTS-A, for rewards of 0 to 1: mean 0, worth one reward (kappa); variance 0.1 (tau^2),
# worth one reward (nu).
PRIOR_MEAN: Final = 0.0
PRIOR_WEIGHT: Final = 1.0
PRIOR_FREEDOM: Final = 1.0
PRIOR_VARIANCE: Final = 0.1


class MeanPosterior:
    """Rewards are normal with unknown mean and variance, whose prior is normal-inverse-gamma.

    The marginal posterior of the mean is a Student t distribution, so a draw needs no draw of the variance first.
    """

    __slots__ = ("_count", "_mean", "_squares")

    def __init__(self) -> None:
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0  # sum of squared distances to the mean

    def tell(self, reward: float) -> None:
        """One more reward. The last bits depend on the order."""
        self._count += 1
        before = reward - self._mean
        self._mean += before / self._count
        self._squares += before * (reward - self._mean)

    def parameters(self) -> tuple[float, float, float]:
        """Centre, scale and degrees of freedom of the mean's t distribution."""
        count, weight, freedom = self._count, PRIOR_WEIGHT + self._count, PRIOR_FREEDOM + self._count
        center = (PRIOR_WEIGHT * PRIOR_MEAN + count * self._mean) / weight
        gap = count * PRIOR_WEIGHT / weight * (self._mean - PRIOR_MEAN) ** 2
        variance = (PRIOR_FREEDOM * PRIOR_VARIANCE + self._squares + gap) / freedom
        return center, math.sqrt(variance / weight), freedom

    def draw(self, seed: int, *key: Key) -> float:
        """A mean, as likely as it is."""
        center, scale, freedom = self.parameters()
        return center + scale * student_t(freedom, seed, *key)
