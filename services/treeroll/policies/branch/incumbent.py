"""Paths that can no longer beat the best finished one are set aside: the pruning rule of Informed RRT*."""

import math
from collections.abc import Sequence

from treeroll.policies.branch.value import ValueModel
from treeroll.tree import rng
from treeroll.tree.node import Node
from treeroll.tree.tree import Tree, path_name


class Incumbent:
    """Which waiting paths may still go on: those whose bound is at least the best reward so far, and a revived quota.

    Informed RRT* (arXiv 1404.2334, abstract and excerpts of code) drops a state once no path through it can be cheaper
    than the best one found. Its bound, a straight line, has no likeness in text, so the bound is ours: what a path has
    written is worth its value v, and all that it may still write is worth 1. With a share u of its tokens used up that
    is 1 - u (1 - v), which falls to v; it is for rewards from 0 to 1. An unknown value counts as 1.

    Values are estimates, so the bound may be too low. Therefore each path that is set aside is revived with probability
    `revive`, drawn once, by its name: neither the round nor the others matter, and what grows from it stays revived.
    Nothing is discarded: a path is looked at anew in each round, because values may rise.
    """

    def __init__(self, values: ValueModel, revive: float, max_tokens: int) -> None:
        """`values` is its own; `max_tokens` are the most completion tokens of a path."""
        self._values = values
        self._revive = revive
        self._max_tokens = max_tokens
        self._revived: set[int] = set()

    def hopeful(self, tree: Tree, waiting: Sequence[Node]) -> list[Node]:
        """Those that may go on, in the order given. All leaves so far must have been scored."""
        self._values.update(tree)
        best = max((reward for reward in tree.rewards.values() if reward is not None), default=-math.inf)
        return [node for node in waiting if self._bound(tree, node) >= best or self._is_revived(tree, node)]

    def _bound(self, tree: Tree, node: Node) -> float:
        value = self._values.of(node)
        used = min(1.0, tree.completion_tokens(node.number) / self._max_tokens)
        return 1.0 if value is None else 1 - used * (1 - value)

    def _is_revived(self, tree: Tree, node: Node) -> bool:
        drawn = rng.uniform(tree.seed, "revive", path_name(tree.path(node.number))) < self._revive
        if drawn or node.parent in self._revived:
            self._revived.add(node.number)
        return node.number in self._revived
