"""Depth first: the deepest paths go on, so that few are open at a time."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from treeroll.policies.branch.rounds import Choice, RoundParams, RoundPolicy
from treeroll.policy.base import Limits
from treeroll.tree.node import Node
from treeroll.tree.tree import Tree
from treeroll.why import Why, because


class DepthFirst(RoundPolicy):
    """The `parallel` deepest of the waiting paths go on, the first in path order of those equally deep.

    Rounds, forks and the end are as its parameters say; `value` and `success` are read for `revive` alone. The baseline
    for policies that choose by value. All of it is ours.

    Choices read other paths, so all segments but the first are retrospective: leaves are for training or for an answer,
    not for estimates of the mean reward.
    """

    name: ClassVar[str] = "depth_first"
    summary: ClassVar[str] = "the deepest paths go on first, whatever they are worth"
    paper: ClassVar[str] = "none; the baseline of searches by value"
    explains: ClassVar[Mapping[str, str]] = {
        "depth_first.deepest": "at depth {depth} it is one of the {parallel} deepest that wait",
    }

    class Params(RoundParams):
        """Nothing of its own."""

    def __init__(self, params: Params, limits: Limits) -> None:
        super().__init__(params, limits)
        self._params = params

    def choice(self) -> Choice:
        """The rule."""
        return Deepest(self._params)


class Deepest:
    """No memory."""

    def __init__(self, params: RoundParams) -> None:
        self._parallel = params.parallel

    def choose(self, tree: Tree, waiting: Sequence[Node], left: float) -> list[Node]:
        """Deepest first."""
        return sorted(waiting, key=lambda node: -node.depth)[: self._parallel]

    def why(self, node: Node) -> Why:
        """By its depth."""
        return because("depth_first.deepest", depth=node.depth, parallel=self._parallel)
