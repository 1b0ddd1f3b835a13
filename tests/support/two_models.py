"""A growth whose trees have branches of another model."""

from dataclasses import dataclass
from typing import ClassVar

from treeroll.policy import base
from treeroll.policy.base import Expansion, Limits
from treeroll.policy.needs import Needs
from treeroll.tree.node import Node, NodeStatus
from treeroll.tree.tree import Tree


class TwoModels:
    """A quarter of the leaves start at the root; where one of these has passed depth 1, three of model `other` fork."""

    name: ClassVar[str] = "two_models"
    summary: ClassVar[str] = "forks of another model"
    paper: ClassVar[str] = "a test"
    needs: ClassVar[Needs] = Needs(models=("large",))
    other = "large"

    class Params(base.Params):
        """None."""

    def __init__(self, params: Params, limits: Limits) -> None:
        self.first = max(1, limits.leaves // 4)
        self.forks = min(3, limits.leaves // self.first - 1)
        self.max_leaves = self.first * (1 + self.forks)

    def grow(self, tree: Tree) -> "TwoModelsGrowth":
        """Nothing to remember."""
        return TwoModelsGrowth(self)


@dataclass
class TwoModelsGrowth:
    """One tree."""

    policy: TwoModels

    def start(self, tree: Tree) -> list[Expansion]:
        return [Expansion(0, self.policy.first, base.BranchReason.INITIAL)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        if node.status is not NodeStatus.INNER:
            return []
        forks = self.policy.forks if node.depth == 1 and node.model is None else 0
        return [Expansion(node.number, forks, model=self.policy.other)]

    def on_idle(self, tree: Tree) -> list[Expansion]:
        return []
