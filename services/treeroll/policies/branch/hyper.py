"""HyPER: a pool of paths that is reduced and expanded at every interval."""

import math
from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field, model_validator

from treeroll.policies.branch.value import Confidence
from treeroll.policy import base
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT, LeafCount, within_leaves
from treeroll.tree.node import BranchReason, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import Why, because


class HyPER:
    """All paths wait at a boundary; the confident ones go on, and while the pool is unsure, they fork.

    `warm_up` paths start at the prompt. A path's confidence is exp of the mean log probability of its last segment, the
    interval. The threshold is the confidence of the `keep`-th best of the first segments, of the least confident one
    if there are fewer. At every boundary the paths below it are reduced: they end there, and are no samples; the most
    confident path always goes on. The pool is expanded while its mean surprisal over the interval is above that over
    the first one: paths that go on get one fork each, the most confident first, as far as `pool` and the run's
    `leaves` have room for paths, and finished ones count towards the latter.

    Forks and ends read nothing beyond the boundary, so they are boundary decisions. But paths that are reduced have no
    reward, so no mean over the leaves estimates the policy's mean reward.

    Ours: all of the rule but its frame. Known from the source's abstract, and from notes of others that have the
    figures, are a controller that acts on a pool every 64 tokens, 16 first paths, a threshold from the ten best of
    them, and at most 80 paths. Its action scores were not found. Its confidence is the negative mean log probability of
    tokens that compete with the sampled one, which segments do not tell. Its actions beside to branch and to do nothing
    decode tokens several times over in the engine, and its weights of votes are for one answer, not for training.
    """

    name: ClassVar[str] = "hyper"
    summary: ClassVar[str] = "a pool of paths: at each interval unsure ones end, and others fork while all are unsure"
    paper: ClassVar[str] = "HyPER, arXiv 2602.06527"
    explains: ClassVar[Mapping[str, str]] = {
        "hyper.expand": "the pool's mean surprisal of {surprisal} is above that of the first interval, {first}, and "
        "it is number {rank} of the {forks} surest that fork",
        "hyper.reduce": "its confidence of {confidence} is below the threshold of {threshold}",
    }
    needs: ClassVar[Needs] = Needs(hold=True)

    class Params(base.Params):
        """Size of the pool."""

        warm_up: int = Field(16, ge=1, le=MAX_FANOUT, description="first paths")
        keep: int = Field(10, ge=1, le=MAX_FANOUT, description="first segments at or above the threshold")
        pool: int = Field(80, ge=1, le=MAX_FANOUT, description="most paths that run at a time")

        @model_validator(mode="after")
        def _pool_holds_the_first_paths(self) -> Self:
            if self.pool < self.warm_up:
                raise ValueError(f"pool {self.pool} is below warm_up {self.warm_up}; raise the one or lower the other")
            return self

    def __init__(self, params: Params, limits: Limits) -> None:
        within_leaves(self.name, LeafCount("warm_up", int, {"warm_up": params.warm_up}), limits)
        self.max_leaves = limits.leaves
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return HyPERGrowth(self._params, self.max_leaves)


class HyPERGrowth:
    """What waits at the boundary, and what the first interval was like."""

    def __init__(self, params: HyPER.Params, leaves: int) -> None:
        self._params = params
        self._leaves = leaves
        self._confidence = Confidence()
        self._segments: list[Node] = []  # of this interval
        self._threshold: float | None = None
        self._first_surprisal = 0.0

    def start(self, tree: Tree) -> list[Expansion]:
        """The first paths."""
        return [Expansion(tree.root.number, self._params.warm_up, BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Every path waits for the others."""
        self._segments.append(node)
        return []

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """Reduce and expand."""
        segments, self._segments = self._segments, []
        ranked = sorted(segments, key=lambda node: (-self._confidence.of(node), tree.path(node.number)))
        waiting = [node for node in ranked if node.status is NodeStatus.INNER]
        if not waiting:
            return []
        surprisal = math.fsum(-math.log(self._confidence.of(node)) for node in waiting) / len(waiting)
        if self._threshold is None:
            self._threshold = self._confidence.of(ranked[: self._params.keep][-1])
            self._first_surprisal = surprisal
        going = [node for node in waiting if self._confidence.of(node) >= self._threshold] or waiting[:1]
        forks = self._room(tree, len(going)) if surprisal > self._first_surprisal else 0
        pool = {"surprisal": surprisal, "first": self._first_surprisal}
        kept = {node.number for node in going}
        reduced = [node for node in waiting if node.number not in kept]
        return [
            *(
                Expansion(
                    node.number,
                    int(place < forks),
                    why=because("hyper.expand", **pool, rank=place + 1, forks=forks) if place < forks else None,
                )
                for place, node in enumerate(going)
            ),
            *(Expansion(node.number, 0, resume=False, why=self._reduced(node)) for node in reduced),
        ]

    def _reduced(self, node: Node) -> Why:
        threshold = self._threshold or 0.0
        return because("hyper.reduce", confidence=self._confidence.of(node), threshold=threshold)

    def _room(self, tree: Tree, going: int) -> int:
        return min(self._params.pool, self._leaves - len(tree.leaves)) - going
