"""Credit by edges, against everything that was tried elsewhere above them."""

import math
from collections.abc import Sequence
from typing import ClassVar

from treeroll.policies.advantage.moments import mean
from treeroll.policies.advantage.scored_tree import ScoredTree
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits


class AncestorsAdvantage:
    """A(n) = V(n) - b(n), b(n) the mean over the forks a above n of the mean value of a's other children.

    A leaf's value V is its reward, an inner node's the plain mean of its children's. A fork above n is a node from the
    prompt to n's parent with more children than the one that leads to n; the others were sampled without knowing what n
    says, so b(n) is a baseline that biases nothing, and V(n) is an unbiased estimate of what n's prefix is worth. With
    `path_weight` as the samples' weights the policy gradient is therefore unbiased, its scale included. Leave-one-out
    over all leaves is not: a token's own value is part of what it is compared with, by the leaves that share it.
    Averaging over forks is what keeps b(n) from the noise of one or two siblings. Of independent samples it is `rloo`.
    A node without a fork above it is compared with nothing and gets 0.

    Cutting a segment in two changes no token's credit. Ours throughout; docs/learning-figures.md has the derivation.
    """

    name: ClassVar[str] = "ancestors"
    summary: ClassVar[str] = "value of every node against the other children of all forks above it"
    paper: ClassVar[str] = "ours"

    class Params(base.Params):
        """Nothing to set."""

    def __init__(self, params: Params, limits: Limits) -> None:
        pass

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        scored = ScoredTree(tree)
        values = scored.child_means(tree.rewards)
        others: dict[int, tuple[float, ...]] = {0: ()}  # per node: mean value of the other children of each fork above
        for above, children in scored.children.items():
            # A scored leaf that was grown further is a child of its own, as it is in the values.
            tried = [values[child] for child in children]
            rest = _means_of_others([*tried, tree.rewards[above]] if above in tree.rewards else tried)
            for child, beside in zip(children, rest, strict=False):
                others[child] = others[above] if beside is None else (*others[above], beside)
        credit = {node: values[node] - mean(others[node]) if others[node] else 0.0 for node in scored.parents}
        return scored.along_paths(credit)


def _means_of_others(values: Sequence[float]) -> list[float | None]:
    """For each value, the mean of the others; None if there are none."""
    if len(values) < 2:
        return [None] * len(values)
    if len(set(values)) == 1:
        return list(values)
    total = math.fsum(values)
    return [(total - value) / (len(values) - 1) for value in values]
