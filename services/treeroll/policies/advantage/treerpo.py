"""TreeRPO's advantages: every node against its siblings."""

from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.advantage.moments import deviation, mean
from treeroll.policies.advantage.scored_tree import ScoredTree
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits


class TreeRPOAdvantage:
    """A(n) = (r(n) - mean r) / std r over the children of n's parent; r of an inner node is the mean of its children's.

    Groups with a deviation below `smallest_spread` are left out (the paper's threshold of 0.1): their nodes get 0.

    Read in secondary sources only. Ours, because they do not say: the population deviation, for the division and for
    the threshold, and no re-normalisation for fractional rewards. Also ours: where a node has no siblings it continues
    its parent's edge and has its credit; the paper's trees fork at every segment.
    """

    name: ClassVar[str] = "treerpo"
    summary: ClassVar[str] = "value of every node against its siblings, over their deviation"
    paper: ClassVar[str] = "TreeRPO, arXiv 2506.05183"

    class Params(base.Params):
        """Which groups of siblings count, and what differences are divided by."""

        scale: Literal["std", "none"] = Field("std", description="deviation of the siblings' values to divide by")
        smallest_spread: float = Field(0.1, gt=0, le=1e6, description="deviation of siblings that counts as contrast")

    def __init__(self, params: Params, limits: Limits) -> None:
        self._params = params

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        scored = ScoredTree(tree)
        values = scored.child_means(tree.rewards)
        credit: dict[int, float] = {}
        for siblings in scored.children.values():
            credit.update(zip(siblings, self._relative([values[node] for node in siblings]), strict=True))
        return scored.along_paths({node: credit[head] for node, head in scored.edges().items()})

    def _relative(self, values: list[float]) -> list[float]:
        spread = deviation(values)
        if spread < self._params.smallest_spread:
            return [0.0] * len(values)
        center, scale = mean(values), spread if self._params.scale == "std" else 1.0
        return [(value - center) / scale for value in values]
