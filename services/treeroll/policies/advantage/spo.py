"""Segment policy optimization: every segment against the prefix it continues, by Monte-Carlo values."""

from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.advantage.moments import deviation
from treeroll.policies.advantage.scored_tree import ScoredTree
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits

EPSILON = 1e-8


class SPOAdvantage:
    """A(n) = V(n) - V(p), p the parent of n: an edge's credit is what its segment changed.

    A leaf's value is its reward, an inner node's the plain mean of its children's, whatever the number of leaves below
    each. `scale=sibling_std` divides by the population deviation of the children of p, plus 1e-8 (`grpo` in the
    release, whose default is `rloo`: no division). The release trains on edges one by one, without those of zero
    credit (`treeroll.client.edge_samples`), and trains and whitens only tokens whose probability was below 0.9.

    Ours: where forks are rarer than segments, an edge runs from one fork to the next and all its segments have its
    credit; the paper's trees fork at every segment but the last, which has no limit. The optional best-of-4 value of
    the release is left out.
    """

    name: ClassVar[str] = "spo"
    summary: ClassVar[str] = "value of every node, as the mean over its children, against its parent's"
    paper: ClassVar[str] = "SPO, arXiv 2505.23564"

    class Params(base.Params):
        """What differences are divided by."""

        scale: Literal["none", "sibling_std"] = Field("none", description="deviation of siblings' values to divide by")

    def __init__(self, params: Params, limits: Limits) -> None:
        self._scale = params.scale

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        scored = ScoredTree(tree)
        values = scored.child_means(tree.rewards)
        spreads = {node: self._spread([values[child] for child in below]) for node, below in scored.children.items()}
        credit = {node: (values[node] - values[parent]) / spreads[parent] for node, parent in scored.parents.items()}
        return scored.along_paths({node: credit[head] for node, head in scored.edges().items()})

    def _spread(self, values: list[float]) -> float:
        return 1.0 if self._scale == "none" else deviation(values) + EPSILON
