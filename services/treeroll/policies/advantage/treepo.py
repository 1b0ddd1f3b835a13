"""TreePO advantages: every leaf against each group of leaves it shares a prefix with (paper 2.3, eq 5)."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.advantage.moments import deviation, mean
from treeroll.policies.advantage.scored_tree import on_whole_paths
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits

# Deviations below this are rounding noise: dividing by them would turn it into credit.
SMALLEST_SPREAD = 1e-6


@dataclass(frozen=True, slots=True)
class Term:
    """One group of a leaf: its size, and the leaf's reward minus the group's mean."""

    size: int
    gap: float


class TreePOAdvantage:
    """S_i combines a_ik = R_i - mean(R over G_k), where G_k are the scored leaves that share the first k path nodes.

    k = 0 is the whole tree. For k >= 1 a group of one says nothing and is left out. `average`, the paper's choice, is
    the plain mean of the a_ik; `group_size` weighs each by |G_k|. The value of a leaf goes to each node of its path.
    Whitening over the batch's tokens, which the release adds, is the client's: no tree knows the batch.

    `scale`: eq 5 divides by the deviation of {a_ij} and does not say over which index. `path_std` reads it as over the
    terms of leaf i, which grows without bound as they come to agree; `tree_std` as over all terms of the tree.
    Ours: population deviations, and no division by one below 1e-6. Dropping zero-variance groups hurts in the paper's
    ablation, so it is off.
    """

    name: ClassVar[str] = "treepo"
    summary: ClassVar[str] = "reward against the mean of every group that shares a prefix with the leaf"
    paper: ClassVar[str] = "TreePO, arXiv 2508.17445, section 2.3"

    class Params(base.Params):
        """Which groups count, and how their terms combine."""

        aggregate: Literal["average", "group_size"] = Field("average", description="mean of terms, plain or by size")
        include_root: bool = Field(True, description="count the group of all leaves")
        drop_zero_variance_groups: bool = Field(False, description="leave out groups whose rewards are equal")
        scale: Literal["none", "path_std", "tree_std"] = Field("none", description="deviation to divide by")

    def __init__(self, params: Params, limits: Limits) -> None:
        self._params = params

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        groups = _groups(tree)
        terms = {leaf: list(self._terms(tree, groups, leaf)) for leaf in tree.rewards}
        spread = deviation([term.gap for of_leaf in terms.values() for term in of_leaf])
        combined = {leaf: self._scaled(self._combined(of_leaf), of_leaf, spread) for leaf, of_leaf in terms.items()}
        return on_whole_paths(tree, combined)

    def _terms(self, tree: CreditTree, groups: dict[int, list[float]], leaf: int) -> Iterable[Term]:
        for node in (0, *tree.paths[leaf]):
            rewards = groups[node]
            if node == 0 and not self._params.include_root:
                continue
            if node != 0 and len(rewards) == 1:
                continue
            if self._params.drop_zero_variance_groups and len(set(rewards)) == 1:
                continue
            yield Term(len(rewards), tree.rewards[leaf] - mean(rewards))

    def _combined(self, terms: list[Term]) -> float:
        if not terms:
            return 0.0
        if self._params.aggregate == "average":
            return math.fsum(term.gap for term in terms) / len(terms)
        return math.fsum(term.size * term.gap for term in terms) / sum(term.size for term in terms)

    def _scaled(self, value: float, terms: list[Term], tree_spread: float) -> float:
        match self._params.scale:
            case "none":
                return value
            case "path_std":
                spread = deviation([term.gap for term in terms])
            case "tree_std":
                spread = tree_spread
        return value / spread if spread > SMALLEST_SPREAD else value


def _groups(tree: CreditTree) -> dict[int, list[float]]:
    """Rewards of the scored leaves below each node. A node names the prefix that ends with it; 0 is the prompt."""
    groups: dict[int, list[float]] = defaultdict(list)
    for leaf, reward in tree.rewards.items():
        for node in (0, *tree.paths[leaf]):
            groups[node].append(reward)
    return groups
