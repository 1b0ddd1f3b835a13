"""Segment advantages among siblings, in TreePO's port of SPO: standardised node values, child minus parent."""

from typing import ClassVar

from treeroll.policies.advantage.moments import deviation, mean
from treeroll.policies.advantage.scored_tree import ScoredTree
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits

# Deviations up to this are no contrast, as in the release.
SMALLEST_SPREAD = 1e-8


class SegPOAdvantage:
    """A(n) = z(n) - z(p): z standardises a node's value among its siblings, and is 0 at the prompt.

    A leaf's value is its reward, an inner node's the plain mean of its children's. z = (V - mean) / deviation over the
    children of one parent (population deviation), 0 where they agree. The release does not whiten these.

    From the code of TreePO's release (`SEGPO`). Ours: an only child continues its parent's edge and has its credit. The
    release leaves its value raw beside standardised ones, so the difference mixes two scales.
    """

    name: ClassVar[str] = "segpo"
    summary: ClassVar[str] = "node values standardised among siblings, every node against its parent"
    paper: ClassVar[str] = "TreePO's code release (a port of SPO), arXiv 2508.17445"

    class Params(base.Params):
        """Nothing to set."""

    def __init__(self, params: Params, limits: Limits) -> None:
        pass

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        scored = ScoredTree(tree)
        means = scored.child_means(tree.rewards)
        edges = scored.edges()
        standard = {0: 0.0}
        for node, parent in scored.parents.items():
            alone = edges[node] != node
            standard[node] = standard[parent] if alone else _standardised(node, scored.children[parent], means)
        credit = {node: standard[node] - standard[parent] for node, parent in scored.parents.items()}
        return scored.along_paths({node: credit[head] for node, head in edges.items()})


def _standardised(node: int, siblings: list[int], means: dict[int, float]) -> float:
    values = [means[sibling] for sibling in siblings]
    spread = deviation(values)
    return (means[node] - mean(values)) / spread if spread > SMALLEST_SPREAD else 0.0
