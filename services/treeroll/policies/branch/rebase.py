"""REBASE: a level's paths get continuations in proportion to exp(score / T)."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.branch.level import LevelParams, LevelPolicy
from treeroll.policy.base import Limits
from treeroll.tree.apportion import apportion, rounded_up, softmax
from treeroll.tree.node import Node
from treeroll.tree.tree import Tree

Rounding = Literal["exact", "source"]
ROUNDING = "whole shares: within one of the formula's, or the source's, which rounds up from the best down"


class REBASE(LevelPolicy):
    """All paths of a level wait; then path i becomes W * exp(R_i / T) / sum_j exp(R_j / T) of them, whole numbers.

    W is the width that is left: the run's `leaves` less the paths that have ended. Paths whose share is 0 end there,
    open and in no sample; there is no other pruning. The prompt gets the whole width.

    Forks read nothing beyond the boundary, so they are boundary decisions, unless a level is decided before all its
    paths are there. But paths whose share is 0 have no reward, so no mean over the leaves estimates the policy's mean
    reward.

    `rounding=source` is the source's: it rounds up one path after another, best first, by what is left for those still
    to come, so the best get more than their share and some of the worst nothing. Ours: shares are `exact` unless asked
    otherwise, by largest remainder, within one of what the formula says; ties go by path order in both, and both sum to
    W, where the source's floating point may miss it, and a form with plain rounding does. R is what `value` says, as
    there is no learned model of steps; while no score is known shares are equal. Discarded paths use up width too.
    """

    name: ClassVar[str] = "rebase"
    summary: ClassVar[str] = "a level's paths share the width that is left by softmax of their scores"
    paper: ClassVar[str] = "REBASE, arXiv 2408.00724"

    class Params(LevelParams):
        """How sharply scores decide."""

        temperature: float = Field(0.2, gt=0, le=1e6, description="T; the smaller, the more goes to the best")
        rounding: Rounding = Field("exact", description=ROUNDING)

    def __init__(self, params: Params, limits: Limits) -> None:
        super().__init__(params, limits, partial(BySoftmax, params.temperature, params.rounding))


class BySoftmax:
    """REBASE's shares."""

    def __init__(self, temperature: float, rounding: Rounding = "exact") -> None:
        self._temperature = temperature
        self._share_out = apportion if rounding == "exact" else rounded_up

    def arrived(self, tree: Tree, node: Node) -> None:
        """Shares need no more than scores."""

    def shares(self, tree: Tree, waiting: Sequence[Node], scores: Sequence[float], width: int) -> list[int]:
        """Sums to `width`; a better score never gets less."""
        return self._share_out(width, softmax(scores, self._temperature))

    def decided(self, onward: Sequence[int]) -> None:
        """Nothing is kept."""
