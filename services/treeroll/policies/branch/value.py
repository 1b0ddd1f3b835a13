"""What nodes are worth while a tree grows: the protocol, and the stand-in for a learned value."""

import math
from collections.abc import Mapping
from typing import Protocol

from treeroll.tree.node import Node
from treeroll.tree.tree import Tree


class ValueModel(Protocol):
    """How good the paths through a node are, from 0 to 1. A growth calls `update` before it asks."""

    def update(self, tree: Tree) -> set[int]:
        """Read the leaves that came since the last call, all of them scored; returns the nodes whose values changed."""
        ...

    def of(self, node: Node) -> float | None:
        """The value; None where nothing is known of it."""
        ...


class Judged:
    """What the run's judge says of the path down to a node: known before growth sees the node, and never changed."""

    def __init__(self) -> None:
        self._values: Mapping[int, float | None] = {}

    def update(self, tree: Tree) -> set[int]:
        """Leaves say nothing of it."""
        self._values = tree.values
        return set()

    def of(self, node: Node) -> float | None:
        """What the judge says; None where it failed."""
        return self._values.get(node.number)


class Confidence:
    """exp of the mean log probability of a segment's sampled tokens: known when it ends, and never changed.

    Ours, where a source has a learned value: it says how sure the model was, not how right.
    """

    def update(self, tree: Tree) -> set[int]:
        """Leaves say nothing of it."""
        return set()

    def of(self, node: Node) -> float:
        """The value, in (0, 1]."""
        return math.exp(node.logprob_sum / max(node.sampled, 1))


class PathConfidence:
    """exp of the mean log probability of all tokens that were sampled down to the end of a node, each counted once.

    Ours, as `Confidence` is; the weights of tokens are those of a likelihood normalised by length, so one unsure
    segment counts for less the longer the path is, and a long segment for more than a short one.
    """

    def __init__(self) -> None:
        self._sampled = [0]  # tokens down to each node

    def update(self, tree: Tree) -> set[int]:
        """Count the tokens of the nodes that came since the last call; the values of others never change."""
        new = tree.nodes[len(self._sampled) :]
        for node in new:
            self._sampled.append(self._sampled[node.parent] + node.sampled)
        return {node.number for node in new}

    def of(self, node: Node) -> float:
        """The value, in (0, 1]."""
        return math.exp(node.path_logprob_sum / max(self._sampled[node.number], 1))
