"""Group-relative advantages: every leaf against the leaves of its tree."""

from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.advantage.moments import deviation, mean
from treeroll.policies.advantage.scored_tree import on_whole_paths
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits


class GRPOAdvantage:
    """A_i = (R_i - mean R) / (std R + epsilon) over the scored leaves of the tree; the same for each node of a path.

    std is the sample deviation (n - 1). epsilon is 1e-6 in verl, and 1e-4 in TRL. `scale=none` is Dr.GRPO (arXiv
    2503.20783): no division, so that tasks which hardly ever succeed, or fail, weigh no more than others
    (`norm_adv_by_std_in_grpo=False` in verl, `scale_rewards="none"` in TRL). Its other half, a loss that is not divided
    by the lengths of samples, is the trainer's.

    Leaves that nobody scored take no part. Ours: equal rewards and a single scored leaf give exactly 0, rather than
    rounding noise over epsilon.
    """

    name: ClassVar[str] = "grpo"
    summary: ClassVar[str] = "reward against the mean of the tree's leaves, over their deviation"
    paper: ClassVar[str] = "DeepSeekMath, arXiv 2402.03300, section 4.1"

    class Params(base.Params):
        """What differences are divided by."""

        scale: Literal["std", "none"] = Field("std", description="deviation of the rewards to divide by")
        epsilon: float = Field(1e-6, gt=0, le=1, description="added to the deviation: 1e-6 in verl, 1e-4 in TRL")

    def __init__(self, params: Params, limits: Limits) -> None:
        self._params = params

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        rewards = list(tree.rewards.values())
        center = mean(rewards)
        scale = 1.0 if self._params.scale == "none" else deviation(rewards, ddof=1) + self._params.epsilon
        return on_whole_paths(tree, {leaf: (reward - center) / scale for leaf, reward in tree.rewards.items()})
