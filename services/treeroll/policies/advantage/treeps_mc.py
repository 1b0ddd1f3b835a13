"""Monte-Carlo process advantages: the utility of a step is the mean outcome of the leaves below it."""

from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.advantage.scored_tree import ScoredTree
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits


class TreePSAdvantage:
    """A(n) = V(n) - V(p), V the mean reward of all scored leaves at or below a node, p the parent.

    The paper's step utility is this mean; how its step advantage follows from it could not be read. Ours: `against` the
    `parent`, the `prompt` (V(n) - V(root)), or the sum of `both`; and, with the parent, all segments between two forks
    have the credit of the first, because the mean changes at forks only.
    """

    name: ClassVar[str] = "treeps_mc"
    summary: ClassVar[str] = "mean outcome below every node against its parent's, or the prompt's"
    paper: ClassVar[str] = "TreePS-RAG, arXiv 2601.06922"

    class Params(base.Params):
        """What a node is compared with."""

        against: Literal["parent", "prompt", "both"] = Field("parent", description="what the node is compared with")

    def __init__(self, params: Params, limits: Limits) -> None:
        self._against = params.against

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        scored = ScoredTree(tree)
        values = scored.leaf_means(tree.rewards)
        credit = {}
        for node, head in scored.edges().items():
            step, gain = values[head] - values[scored.parents[head]], values[node] - values[0]
            credit[node] = {"parent": step, "prompt": gain, "both": step + gain}[self._against]
        return scored.along_paths(credit)
