"""Leave-one-out advantages: every leaf against the mean of the others."""

from typing import ClassVar

from treeroll.policies.advantage.moments import others_gap
from treeroll.policies.advantage.scored_tree import on_whole_paths
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits


class RLOOAdvantage:
    """A_i = R_i - mean of R_j over the other scored leaves of the tree; the same for each node of a path.

    Ours: a single scored leaf has nobody to compare with and gets 0; published trainers hand it its raw reward.
    """

    name: ClassVar[str] = "rloo"
    summary: ClassVar[str] = "reward against the mean of the tree's other leaves"
    paper: ClassVar[str] = "Back to Basics (RLOO), arXiv 2402.14740"

    class Params(base.Params):
        """Nothing to set."""

    def __init__(self, params: Params, limits: Limits) -> None:
        pass

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        gaps = others_gap(list(tree.rewards.values()))
        return on_whole_paths(tree, dict(zip(tree.rewards, gaps, strict=True)))
