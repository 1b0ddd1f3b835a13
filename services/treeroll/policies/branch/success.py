"""Success of nodes while a tree grows: a running mean over the scored leaves below each, never walked twice."""

from collections.abc import Iterator
from typing import Final

from treeroll.tree.node import Node
from treeroll.tree.tree import Tree

# Scored leaves that the success of the node above counts for.
PRIOR_LEAVES: Final = 1.0


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


class ExpectedSuccess:
    """A ValueModel that knows something of every node: the success below it, or else of what is around it.

    The posterior mean of a Beta distribution whose prior is the node above: (s + v) / (n + 1) for s successes among n
    scored leaves at or below a node, v being the value of the node above. The prompt's value is its share of successes;
    None before anything has been scored. Ours: the prior weighs as much as PRIOR_LEAVES leaves.
    """

    def __init__(self, success: float) -> None:
        self._rates = SuccessRates(success)
        self._nodes: list[Node] = []
        self._known: dict[int, float | None] = {}

    def update(self, tree: Tree) -> set[int]:
        """Count the leaves that came since the last call, all of them scored; values below change too."""
        self._nodes = tree.nodes
        changed = self._rates.update(tree)
        if changed:
            self._known = {0: self._rates.of(tree.root)}
        return changed

    def of(self, node: Node) -> float | None:
        """0..1."""
        known, unknown = self._known, []
        while node.number and node.number not in known:
            unknown.append(node)
            node = self._nodes[node.parent]
        value = known.get(node.number)
        for node in reversed(unknown):
            scored = self._rates.scored(node)
            if value is not None and scored:
                successes = (self._rates.of(node) or 0.0) * scored
                value = (successes + PRIOR_LEAVES * value) / (scored + PRIOR_LEAVES)
            known[node.number] = value
        return value


def _up(tree: Tree, number: int) -> Iterator[int]:
    """The node and those above it, the root included."""
    while number:
        yield number
        number = tree.nodes[number].parent
    yield 0
