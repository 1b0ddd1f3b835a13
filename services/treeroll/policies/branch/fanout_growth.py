"""Growth with a fixed number of children per depth: nothing is counted, compared or waited for."""

from collections.abc import Sequence

from treeroll.core.tree import BranchReason, Node, NodeStatus, Tree
from treeroll.policies.base import Expansion


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
