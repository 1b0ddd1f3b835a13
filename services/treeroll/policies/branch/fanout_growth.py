"""Growth with a fixed number of children per depth: nothing is counted, compared or waited for."""

from collections.abc import Sequence
from math import prod
from typing import ClassVar

from treeroll.core.tree import BranchReason, Node, NodeStatus, Tree
from treeroll.policies.base import Expansion, Growth, Limits
from treeroll.policies.branch.width import within_leaves


class FanoutPolicy:
    """What policies of fixed fan-outs share; `settings` are those that made them, as people write them."""

    name: ClassVar[str]
    reads_rewards: ClassVar[bool] = False
    needs_hold: ClassVar[bool] = False
    reads_tokens: ClassVar[bool] = False

    def __init__(self, fanouts: Sequence[int], settings: str, limits: Limits) -> None:
        self.max_leaves = within_leaves(self.name, settings, prod(fanouts), limits)
        self.fanouts = fanouts
        self.settings = settings

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return FanoutGrowth(self.fanouts)


class FanoutGrowth:
    """Every node that ends at depth k (the prompt at 0) gets `fanouts[k]` children; beyond the list, one.

    A node is decided the moment it arrives, from its depth alone, so all of a tree grows at once and the order of
    arrival cannot matter. The branch that made a node goes on as its first child.
    """

    def __init__(self, fanouts: Sequence[int]) -> None:
        self._fanouts = fanouts

    def start(self, tree: Tree) -> list[Expansion]:
        """First branches, all at the prompt."""
        return [Expansion(tree.root.number, self._fanouts[0], BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Decides this node at once."""
        if node.status is not NodeStatus.INNER:
            return []
        children = self._fanouts[node.depth] if node.depth < len(self._fanouts) else 1
        return [Expansion(node.number, children - 1)]

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """Nothing is made up for: a path that ended early is a leaf."""
        return []
