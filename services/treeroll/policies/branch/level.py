"""Growth by levels: the paths of a level wait for each other, and then share out the width that is left."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Protocol, Self

from pydantic import Field, model_validator

from treeroll.policies.branch.frontier_value import ValueParams, scores
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.tree.apportion import even
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import Why, because


class LevelParams(ValueParams):
    """When a level is decided.

    Once a share `quorum` of the live paths has arrived at a boundary, or the first that did has waited for `timeout_s`;
    late ones are decided with the next round. With a quorum below 1 or a timeout a tree depends on the order of
    arrival: ForkBlind does not hold, and decisions are retrospective, because a late path is measured by deeper ones.
    """

    quorum: float = Field(1.0, gt=0, le=1, description="share of live paths that decide a level; below 1 order matters")
    timeout_s: float | None = Field(
        None, gt=0, le=1e6, description="seconds that a level waits for late paths; if set, order matters"
    )

    @property
    def ordered(self) -> bool:
        """Whether a level may be decided without all of its paths."""
        return self.quorum < 1 or self.timeout_s is not None

    @model_validator(mode="after")
    def _whole_levels_for_rewards(self) -> Self:
        if self.ordered and self.needs.rewards:
            early = f"quorum {self.quorum:g}" if self.quorum < 1 else f"timeout_s {self.timeout_s:g}"
            raise ValueError(
                f"{early} and value success cannot work together: rewards are known once nothing of a tree runs any "
                "more; have levels wait for all their paths, or choose another value"
            )
        return self


class Allocation(Protocol):
    """The rule of a level, and what it keeps of one tree's paths."""

    def arrived(self, tree: Tree, node: Node) -> None:
        """A path waits at the node: the time for what can be done before all are here, and would hold that up then."""
        ...

    def shares(self, tree: Tree, waiting: Sequence[Node], scores: Sequence[float], width: int) -> list[int]:
        """How many paths each waiting one becomes, `width` of them (one per node, or more) in all; 0 ends it."""
        ...

    def decided(self, onward: Sequence[int]) -> None:
        """Of the waiting nodes these go on, and the others end: what is kept of those is of no use any more."""
        ...


class LevelPolicy:
    """What policies of levels share: the run's `leaves` are the width."""

    explains: ClassVar[Mapping[str, str]] = {
        "level.share": "with a score of {score} (the best is {best}) it becomes {share} of the {width} paths that "
        "{waiting} waiting ones share out",
        "gate.shut": "its score of {score} is below the gate of {gate}",
        "level.even": "no score is known, so {waiting} waiting paths share out {width} evenly, and it becomes {share}",
    }

    def __init__(
        self, params: LevelParams, limits: Limits, allocation: Callable[[], Allocation], reads_text: bool = False
    ) -> None:
        self.max_leaves = limits.leaves
        self.needs = replace(params.needs, text=reads_text or params.needs.text)
        self._params = params
        self._allocation = allocation

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return LevelGrowth(self._params, self._allocation(), self.max_leaves)


class LevelGrowth:
    """Which paths are awaited, and which have arrived.

    A path that ends uses up one unit of the width for good, a discarded one too; those that a rule ends give theirs to
    the others. While no score is known all waiting paths get equal shares.
    """

    def __init__(self, params: LevelParams, allocation: Allocation, width: int) -> None:
        self.timeout_s = params.timeout_s
        self._quorum = params.quorum
        self._decision = Decision.RETROSPECTIVE if params.ordered else Decision.BOUNDARY
        self._allocation = allocation
        self._values = params.model()
        self._gate = params.gated(self._values)
        self._width = width
        self._awaited = width  # live paths that have not arrived
        self._arrived = 0  # since the last decision, ended ones too
        self._waiting: list[int] = []

    def start(self, tree: Tree) -> list[Expansion]:
        """The whole width, at the prompt."""
        return [Expansion(tree.root.number, self._width, BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Paths wait, for a quorum if that is not everybody."""
        self._awaited -= 1
        self._arrived += 1
        if node.status is NodeStatus.INNER:
            self._waiting.append(node.number)
            self._allocation.arrived(tree, node)
        else:
            self._width -= 1
        enough = math.ceil(self._quorum * (self._arrived + self._awaited))
        return self._decide(tree) if self._quorum < 1 and self._arrived >= enough else []

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """Everybody is here."""
        return self._decide(tree)

    def on_timeout(self, tree: Tree) -> list[Expansion]:
        """Those who are here do not wait for the others any longer."""
        return self._decide(tree)

    def _decide(self, tree: Tree) -> list[Expansion]:
        waiting = [tree.nodes[number] for number in tree.in_path_order(self._waiting)]
        self._waiting, self._arrived = [], 0
        ended: list[Expansion] = []
        if self._gate is not None and waiting:
            every, waiting = waiting, self._gate.open_to(tree, waiting)
            passing = {node.number for node in waiting}
            ended = [_let_end(node, self._gate.why_shut(node)) for node in every if node.number not in passing]
        if not waiting:
            return ended
        self._values.update(tree)
        width = self._width - self._awaited
        known = scores(self._values, waiting)
        shares = even(width, len(waiting)) if known is None else self._allocation.shares(tree, waiting, known, width)
        whys = _whys(known, shares, width)
        self._allocation.decided([node.number for node, share in zip(waiting, shares, strict=True) if share])
        self._awaited += width
        return ended + [
            Expansion(node.number, share - 1, decision=self._decision, why=why) if share else _let_end(node, why)
            for node, share, why in zip(waiting, shares, whys, strict=True)
        ]


def _let_end(node: Node, why: Why | None) -> Expansion:
    """Nothing goes on at the node, and this is why."""
    return Expansion(node.number, 0, resume=False, why=why)


def _whys(known: Sequence[float] | None, shares: Sequence[int], width: int) -> list[Why | None]:
    """Of paths that fork, and of those that are let end."""
    if known is None:
        terms = {"width": width, "waiting": len(shares)}
        return [None if share == 1 else because("level.even", **terms, share=share) for share in shares]
    best = max(known)
    return [
        None
        if share == 1
        else because("level.share", score=score, best=best, width=width, waiting=len(shares), share=share)
        for score, share in zip(known, shares, strict=True)
    ]
