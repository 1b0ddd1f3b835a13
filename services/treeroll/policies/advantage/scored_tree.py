"""The part of a finished tree that credit can read: the nodes that lead to scored leaves."""

from collections.abc import Mapping

from treeroll.policies.advantage.moments import mean
from treeroll.policy.base import CreditTree


class ScoredTree:
    """Parents, children and scored leaves of every node with a scored leaf at or below it; the root is 0.

    A node without one has no value and takes no part: it is nobody's child here. A scored leaf that was grown further
    counts as one more child of itself.
    """

    def __init__(self, tree: CreditTree) -> None:
        self.parents: dict[int, int] = {}  # parents before their children; the root is not in it
        self.children: dict[int, list[int]] = {0: []}
        self.leaves: dict[int, list[int]] = {0: []}  # scored, at or below
        self._tree = tree
        for leaf in tree.rewards:
            above = 0
            self.leaves[0].append(leaf)
            for node in tree.paths[leaf]:
                if node not in self.parents:
                    self.parents[node] = above
                    self.children[above].append(node)
                    self.children[node], self.leaves[node] = [], []
                self.leaves[node].append(leaf)
                above = node

    def leaf_means(self, values: Mapping[int, float]) -> dict[int, float]:
        """Per node: mean of the leaf values at or below it, every leaf once."""
        return {node: mean([values[leaf] for leaf in leaves]) for node, leaves in self.leaves.items()}

    def child_means(self, values: Mapping[int, float]) -> dict[int, float]:
        """Per node: a leaf's own value; else the mean of its children's, however many leaves each has."""
        means: dict[int, float] = {}
        for node in (*reversed(self.parents), 0):
            parts = [means[child] for child in self.children[node]]
            if node in values:
                parts.append(values[node])
            means[node] = mean(parts)
        return means

    def edges(self) -> dict[int, int]:
        """Per node: the first node of its edge, which runs from one fork to the next.

        Values do not change along an edge, so a difference between neighbours says nothing after its first node.
        """
        heads: dict[int, int] = {}
        for node, parent in self.parents.items():
            continues = parent != 0 and len(self.leaves[node]) == len(self.leaves[parent])
            heads[node] = heads[parent] if continues else node
        return heads

    def along_paths(self, values: Mapping[int, float]) -> dict[int, tuple[float, ...]]:
        """Node values as an estimator returns them: for each scored leaf, those of its path."""
        paths = self._tree.paths
        return {leaf: tuple([values[node] for node in paths[leaf]]) for leaf in self._tree.rewards}


def on_whole_paths(tree: CreditTree, values: Mapping[int, float]) -> dict[int, tuple[float, ...]]:
    """Leaf values as an estimator returns them: the same on every node of the leaf's path."""
    return {leaf: (values[leaf],) * len(tree.paths[leaf]) for leaf in tree.rewards}
