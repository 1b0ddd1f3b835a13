"""Group-relative advantages: every leaf against the leaves of its tree."""

from typing import ClassVar

from treeroll.policies.advantage.moments import deviation, mean
from treeroll.policies.advantage.scored_tree import on_whole_paths
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits

EPSILON = 1e-6


class Grpo:
    """A_i = (R_i - mean R) / (std R + 1e-6) over the scored leaves of the tree; the same for each node of a path.

    std is the sample deviation (n - 1). Leaves that nobody scored take no part. Ours: equal rewards and a single
    scored leaf give exactly 0, rather than rounding noise over epsilon.
    """

    name: ClassVar[str] = "grpo"
    summary: ClassVar[str] = "reward against the mean of the tree's leaves, over their deviation"
    paper: ClassVar[str] = "DeepSeekMath, arXiv 2402.03300, section 4.1"

    class Params(base.Params):
        """Nothing to set."""

    def __init__(self, params: Params, limits: Limits) -> None:
        pass

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        rewards = list(tree.rewards.values())
        center, scale = mean(rewards), deviation(rewards, ddof=1) + EPSILON
        return on_whole_paths(tree, {leaf: (reward - center) / scale for leaf, reward in tree.rewards.items()})
