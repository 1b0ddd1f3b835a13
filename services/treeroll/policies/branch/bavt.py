"""BAVT: paths are drawn by value, the more greedily the less of the budget is left."""

import math
from collections.abc import Sequence
from typing import ClassVar, Final

from treeroll.core.rng import gumbel
from treeroll.core.tree import Node, Tree, path_name
from treeroll.policies.base import Limits
from treeroll.policies.branch.frontier_value import scores
from treeroll.policies.branch.rounds import Choice, RoundParams, RoundPolicy

LEAST_VALUE: Final = 1e-3  # so that what is worth nothing can be drawn at all
GREEDY_BELOW: Final = 0.02  # part of the budget with which nothing is drawn any more


class Bavt(RoundPolicy):
    """Of the waiting paths one is drawn with probability V^(1/r) / sum V^(1/r), for each slot of a round, none twice.

    r is what is left of the tree's budget, by leaves, or by `tokens` if less is left of those. With all of it draws are
    proportional to values; the less is left, the surer is the best. Rounds, forks and the end are as parameters say.

    Choices read other paths, so all segments but the first are retrospective: leaves are for training or for an answer,
    not for estimates of the mean reward.

    The paper's abstract was read, and its exponent in agreeing summaries of others. Ours: below r = 0.02 the best are
    taken without a draw; values are at least 0.001; while none is known all are equal. The paper's critic says what the
    last step gains, on a scale that was not found; here a value is that of the path as `value` says, and nothing is
    pruned by gain.
    """

    name: ClassVar[str] = "bavt"
    summary: ClassVar[str] = "paths are drawn by value, the more greedily the less of the budget is left"
    paper: ClassVar[str] = "BAVT, arXiv 2603.12634"

    class Params(RoundParams):
        """Nothing of its own."""

    def __init__(self, params: Params, limits: Limits) -> None:
        super().__init__(params, limits)
        self._params = params

    def choice(self) -> Choice:
        """Draws of one tree."""
        return Drawn(self._params)


class Drawn:
    """Draws without replacement: the largest of log weight plus keyed Gumbel noise."""

    def __init__(self, params: RoundParams) -> None:
        self._parallel = params.parallel
        self._values = params.model()
        self._round = 0

    def choose(self, tree: Tree, waiting: Sequence[Node], left: float) -> list[Node]:
        """In the order in which they are drawn."""
        self._values.update(tree)
        self._round += 1
        known = scores(self._values, waiting) or [1.0] * len(waiting)
        keys = [self._key(tree, node, value, left) for node, value in zip(waiting, known, strict=True)]
        ranked = sorted(range(len(waiting)), key=lambda place: -keys[place])
        return [waiting[place] for place in ranked[: self._parallel]]

    def _key(self, tree: Tree, node: Node, value: float, left: float) -> float:
        if left < GREEDY_BELOW:
            return value
        noise = gumbel(tree.seed, "bavt", self._round, path_name(tree.path(node.number)))
        return math.log(max(value, LEAST_VALUE)) / left + noise
