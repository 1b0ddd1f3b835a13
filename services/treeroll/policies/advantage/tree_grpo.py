"""Tree-GRPO's advantages: every leaf against all leaves of the task, and against those of its own chain's tree."""

from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.advantage.moments import deviation, mean
from treeroll.policies.advantage.scored_tree import on_whole_paths
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits

EPSILON = 1e-6


class TreeGRPOAdvantage:
    """A_i = norm(R_i over all leaves) + norm(R_i over the leaves of its tree), norm(x) = (x - mean) / (std + 1e-6).

    The same for each node of a path; std is the sample deviation. The paper grows M trees per task, each from one chain
    that starts at the prompt; one tree of ours holds them all. Leaves belong to one of the paper's trees if growth gave
    them the same group, as `tree_grpo` does. `terms`: `both`, the paper's; `intra` alone; `nested` norms the
    task-normed rewards within the tree.

    Ours: leaves of growth without groups belong together if their paths begin with the same node. A leaf that is alone
    in its tree gets 0 from that tree, as one that is alone in the task does; the release hands both their raw reward
    (mean 0, std 1), which with its fixed number of leaves per tree never happens. Its `tree_diff` reward, which it does
    not use itself, is left out.
    """

    name: ClassVar[str] = "tree_grpo"
    summary: ClassVar[str] = "GRPO over the task's leaves, plus GRPO over those of the same chain's tree"
    paper: ClassVar[str] = "Tree-GRPO, arXiv 2509.21240"

    class Params(base.Params):
        """Which norms count."""

        terms: Literal["both", "intra", "nested"] = Field("both", description="both norms, the tree's, or one on top")

    def __init__(self, params: Params, limits: Limits) -> None:
        self._terms = params.terms

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        inter = _normed(tree.rewards)
        intra = _normed_by_tree(tree, inter if self._terms == "nested" else tree.rewards)
        if self._terms == "both":
            intra = {leaf: value + inter[leaf] for leaf, value in intra.items()}
        return on_whole_paths(tree, intra)


def _normed_by_tree(tree: CreditTree, values: dict[int, float]) -> dict[int, float]:
    trees: dict[tuple[int, int], dict[int, float]] = {}
    for leaf, value in values.items():
        group = tree.groups.get(leaf, 0)
        # Without a label, the first node of the path tells trees apart.
        trees.setdefault((group, 0 if group else tree.paths[leaf][0]), {})[leaf] = value
    normed: dict[int, float] = {}
    for leaves in trees.values():
        normed.update(_normed(leaves))
    return normed


def _normed(values: dict[int, float]) -> dict[int, float]:
    listed = list(values.values())
    center, scale = mean(listed), deviation(listed, ddof=1) + EPSILON
    return {leaf: (value - center) / scale for leaf, value in values.items()}
