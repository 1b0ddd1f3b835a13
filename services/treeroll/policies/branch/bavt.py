"""BAVT: paths are drawn by value, the more greedily the less of the budget is left."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Self

from pydantic import Field, model_validator

from treeroll.policies.branch.frontier_value import scores
from treeroll.policies.branch.incumbent import Incumbent
from treeroll.policies.branch.rounds import RoundGrowth, RoundParams, RoundPolicy
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.tree.node import Decision, Node
from treeroll.tree.rng import gumbel
from treeroll.tree.tree import Tree, path_name
from treeroll.why import Why, because

LEAST_VALUE: Final = 1e-3  # so that what is worth nothing can be drawn at all
GREEDY_BELOW: Final = 0.02  # part of the budget with which nothing is drawn any more


class BAVT(RoundPolicy):
    """Of the waiting paths one is drawn with probability V^(1/r) / sum V^(1/r), for each slot of a round, none twice.

    r is what is left of the tree's budget, by leaves, or by `tokens` if less is left of those. With all of it draws are
    proportional to values; the less is left, the surer is the best. Rounds, forks and the end are as parameters say.

    The gain of a step is its residual value: V at its end less V at the end of the step before. A path whose last step
    gained less than `prune_below` is pruned: it waits for good, unless nothing else does and there is no leaf. One
    that gained less than `widen_below` widens: as long as leaves allow it, its forks start a step earlier, from
    where it came from, and it waits on. All others are deepened. First steps have no gain.

    Choices read other paths, so all segments but the first are retrospective: leaves are for training or for an answer,
    not for estimates of the mean reward.

    The paper's abstract was read, and its exponent, V(child) = V(parent) + gain, and what gains decide, in agreeing
    summaries of others. Ours: below r = 0.02 the best are taken without a draw; values are at least 0.001; while none
    is known all are equal. The paper's critic says what a step gains, on a scale that was not found, nor its
    thresholds: here a value is that of the path as `value` says, gains are differences, and none decides unless set.
    """

    name: ClassVar[str] = "bavt"
    summary: ClassVar[str] = "paths are drawn by value, the more greedily the less of the budget is left"
    paper: ClassVar[str] = "BAVT, arXiv 2603.12634"
    explains: ClassVar[Mapping[str, str]] = {
        "bavt.draw": "drawn as number {rank} of {waiting} waiting paths: its value is {value}, its key {key} with "
        "{left} of the budget left",
        "bavt.widen": "the step behind gained {gain}, less than {widen_below}, so its forks begin before it (value "
        "{value})",
    }

    class Params(RoundParams):
        """What the gain of a path's last step decides."""

        prune_below: float | None = Field(
            None, ge=-1, le=1, description="gain of a step below which its path does not go on; none: all may"
        )
        widen_below: float | None = Field(
            None, ge=-1, le=1, description="gain below which forks start before the step; none: never"
        )

        @model_validator(mode="after")
        def _gains_are_told_apart(self) -> Self:
            if self.prune_below is None and self.widen_below is None:
                return self
            if self.value == "success":
                raise ValueError(
                    "prune_below and widen_below compare the values of steps, but with value success a path has that "
                    "of the step before until it ends; choose another value"
                )
            if self.prune_below is not None and self.widen_below is not None and self.widen_below <= self.prune_below:
                raise ValueError(
                    f"widen_below {self.widen_below:g} is not above prune_below {self.prune_below:g}, so no path would "
                    "widen; raise the one or lower the other"
                )
            return self

    def __init__(self, params: Params, limits: Limits) -> None:
        super().__init__(params, limits)
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return BAVTGrowth(self._params, self.incumbent(), self.max_leaves)


class Drawn:
    """Draws without replacement: the largest of log weight plus keyed Gumbel noise."""

    def __init__(self, params: RoundParams) -> None:
        self._parallel = params.parallel
        self.values = params.model()
        self._round = 0
        self._whys: dict[int, Why] = {}

    def choose(self, tree: Tree, waiting: Sequence[Node], left: float) -> list[Node]:
        """The nodes in the order in which they are drawn."""
        self.values.update(tree)
        self._round += 1
        known = scores(self.values, waiting) or [1.0] * len(waiting)
        keys = [self._key(tree, node, value, left) for node, value in zip(waiting, known, strict=True)]
        ranked = sorted(range(len(waiting)), key=lambda place: -keys[place])[: self._parallel]
        self._whys = {
            waiting[place].number: because(
                "bavt.draw", value=known[place], left=left, key=keys[place], rank=rank, waiting=len(waiting)
            )
            for rank, place in enumerate(ranked, 1)
        }
        return [waiting[place] for place in ranked]

    def why(self, node: Node) -> Why:
        """By its last draw."""
        return self._whys[node.number]

    def _key(self, tree: Tree, node: Node, value: float, left: float) -> float:
        if left < GREEDY_BELOW:
            return value
        noise = gumbel(tree.seed, "bavt", self._round, path_name(tree.path(node.number)))
        return math.log(max(value, LEAST_VALUE)) / left + noise


class BAVTGrowth(RoundGrowth):
    """Rounds in which the gain of a path's last step says where it goes on from."""

    def __init__(self, params: BAVT.Params, incumbent: Incumbent | None, leaves: int) -> None:
        drawn = Drawn(params)
        super().__init__(params, drawn, incumbent, leaves)
        self._prune_below = params.prune_below
        self._widen_below = params.widen_below
        self._values = drawn.values

    def candidates(self, tree: Tree, waiting: list[Node]) -> list[Node]:
        """Those that are not pruned; all where only pruned ones could still become a leaf."""
        waiting = super().candidates(tree, waiting)
        self._values.update(tree)
        kept = [node for node in waiting if not self._gained_less(tree, node, self._prune_below)]
        return kept if kept or tree.leaves else waiting

    def go_on(self, tree: Tree, node: Node, forks: int) -> list[Expansion]:
        """Deepen, or widen."""
        if forks and self._gained_less(tree, node, self._widen_below):
            return [
                Expansion(node.parent, forks, resume=False, decision=Decision.RETROSPECTIVE, why=self._wide(tree, node))
            ]
        return super().go_on(tree, node, forks)

    def _wide(self, tree: Tree, node: Node) -> Why:
        after, before = self._values.of(node) or 0.0, self._values.of(tree.nodes[node.parent]) or 0.0
        return because("bavt.widen", gain=after - before, widen_below=self._widen_below or 0.0, value=after)

    def _gained_less(self, tree: Tree, node: Node, bound: float | None) -> bool:
        if bound is None or node.depth == 1:
            return False
        after, before = self._values.of(node), self._values.of(tree.nodes[node.parent])
        return after is not None and before is not None and after - before < bound
