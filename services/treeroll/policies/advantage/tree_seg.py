"""TreePO's segment advantages: leaf rewards made relative first, then every node against its parent."""

import math
from typing import ClassVar

from pydantic import Field

from treeroll.policies.advantage.scored_tree import ScoredTree
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits


class TreeSegAdvantage:
    """A(n) = V(n) - eta^g V(p), with p the parent of n and g the segments from p to the leaf of the path.

    The leaf's value is the mean of R_i - mean(R over G) over all its prefixes, the prompt and the whole path included,
    each weighted by its group's size |G|; G are the scored leaves that share the prefix. The value of an inner node is
    the plain mean of its children's, and that of the prompt is 0. eta < 1 takes less of a parent away the farther it is
    from the leaf; then the credit of a shared node differs from path to path. Whitening over the batch's tokens, which
    the release adds, is the client's.

    From the release's code (`TREE_SEG`); the paper reports no results for it. Ours: none but leaving out unscored
    leaves. As released, segments between forks have equal values and so, with eta 1, no credit after the first.
    """

    name: ClassVar[str] = "tree_seg"
    summary: ClassVar[str] = "group-relative leaf values averaged up the tree, every node against its parent"
    paper: ClassVar[str] = "TreePO's code release, arXiv 2508.17445"

    class Params(base.Params):
        """How much of the parent's value counts."""

        eta: float = Field(1.0, gt=0, le=1, description="weight of the parent's value, per segment up to the leaf")

    def __init__(self, params: Params, limits: Limits) -> None:
        self._eta = params.eta

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        scored = ScoredTree(tree)
        values = scored.child_means(_relative(tree, scored))
        values[0] = 0.0
        return {leaf: self._along(values, tree.paths[leaf]) for leaf in tree.rewards}

    def _along(self, values: dict[int, float], path: tuple[int, ...]) -> tuple[float, ...]:
        parents, depth = (0, *path), len(path)
        return tuple(
            [values[node] - self._eta ** (depth - place) * values[parents[place]] for place, node in enumerate(path)]
        )


def _relative(tree: CreditTree, scored: ScoredTree) -> dict[int, float]:
    """Per leaf: its reward against every group it is in, by the groups' sizes."""
    means = scored.leaf_means(tree.rewards)
    relative = {}
    for leaf, reward in tree.rewards.items():
        groups = [(len(scored.leaves[node]), means[node]) for node in (0, *tree.paths[leaf])]
        relative[leaf] = math.fsum(size * (reward - center) for size, center in groups) / sum(
            size for size, _ in groups
        )
    return relative
