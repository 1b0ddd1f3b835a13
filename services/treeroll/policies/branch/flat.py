"""No tree at all: independent samples of one prompt."""

from typing import ClassVar

from treeroll.policy import base
from treeroll.policy.base import Expansion, Limits
from treeroll.policy.needs import Needs
from treeroll.tree.node import BranchReason
from treeroll.tree.tree import Tree


class Flat:
    """`leaves` branches from the prompt, no forks and no replacement of pruned ones: what GRPO samples.

    The baseline every tree recipe is compared with. Ours: a sample that a minimum length discards is not drawn again,
    because redrawing only the short ones would bias the group.
    """

    name: ClassVar[str] = "flat"
    summary: ClassVar[str] = "independent samples from the prompt, no forks"
    paper: ClassVar[str] = "GRPO sampling, DeepSeekMath, arXiv 2402.03300"
    needs: ClassVar[Needs] = Needs()

    class Params(base.Params):
        """Nothing to set."""

    def __init__(self, params: Params, limits: Limits) -> None:
        self._leaves = limits.leaves

    @property
    def max_leaves(self) -> int:
        """Upper bound on the leaves of one tree."""
        return self._leaves

    def grow(self, tree: Tree) -> "FlatGrowth":
        """A fresh memory for a new tree."""
        return FlatGrowth(self._leaves)


class FlatGrowth(base.Growth):
    """Starts the samples, then lets every one run on."""

    def __init__(self, leaves: int) -> None:
        self._leaves = leaves

    def start(self, tree: Tree) -> list[Expansion]:
        """All samples at once."""
        return [Expansion(tree.root.number, self._leaves, BranchReason.INITIAL)]

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """All samples have ended."""
        return []
