"""Success of nodes while a tree grows: a running mean over the scored leaves below each, never walked twice."""

from collections.abc import Iterator

from treeroll.core.tree import Node, Tree


class SuccessRates:
    """A ValueModel: the share of successes among the scored leaves at or below a node, None where none is scored.

    Each scored leaf is walked up once, when `update` first sees it. Leaves whose scorer failed are not counted.
    """

    def __init__(self, success: float) -> None:
        self._success = success  # smallest reward that is one
        self._seen = 0  # of tree.leaves
        self._counts: dict[int, list[int]] = {}  # node -> [successes, scored leaves]

    def update(self, tree: Tree) -> set[int]:
        """Count the leaves that came since the last call, all of them scored; returns the nodes whose rates changed."""
        changed: set[int] = set()
        for leaf in tree.leaves[self._seen :]:
            reward = tree.rewards[leaf]
            if reward is None:
                continue
            for node in _up(tree, leaf):
                counts = self._counts.setdefault(node, [0, 0])
                counts[0] += reward >= self._success
                counts[1] += 1
                changed.add(node)
        self._seen = len(tree.leaves)
        return changed

    def scored(self, node: Node) -> int:
        """Leaves that were counted at or below a node."""
        counts = self._counts.get(node.number)
        return counts[1] if counts else 0

    def of(self, node: Node) -> float | None:
        """Share of successes."""
        counts = self._counts.get(node.number)
        return counts[0] / counts[1] if counts else None


def _up(tree: Tree, number: int) -> Iterator[int]:
    """The node and those above it, the root included."""
    while number:
        yield number
        number = tree.nodes[number].parent
    yield 0
