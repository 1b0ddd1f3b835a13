"""HBPO: samples in sub-groups, each of which is told its token budget first (arXiv 2507.15844)."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, ClassVar, Final

from pydantic import Field, field_validator

from treeroll.errors import InvalidInput
from treeroll.policy import base
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.tree.apportion import even
from treeroll.tree.node import BranchReason
from treeroll.tree.tree import Tree
from treeroll.why import because

FIELD: Final = "{budget}"
# Far above any context in use.
MOST_TOKENS: Final = 2**20


class HBPO:
    """`leaves` samples in equal sub-groups, one per budget b, which begin with the announcement of b; nothing forks.

    Budgets 512, 1024, 2048 and 2560 for 16 samples are the paper's. The announcement is the release's; the paper's has
    "within {budget} tokens". Leave its tag out where a chat template ends with one. Samples of a sub-group have b as
    their group, from which `hbpo` advantages know it. A sample with a text or a limit of its own is none of the run's
    policy, and has path weight 0.

    Ours: b is also the most completion tokens of its samples, the announcement's among them (`capped`). In the paper
    they go on to 4,096, the run's limit, and lose reward for what is above b: that is `capped` false. Where leaves do
    not divide evenly, smaller budgets get one more; with fewer leaves than budgets, the largest get none. An empty
    announcement leaves samples with their limits alone. A budget above the run's max_tokens is refused.
    """

    name: ClassVar[str] = "hbpo"
    summary: ClassVar[str] = "independent samples in sub-groups, each told its token budget, no forks"
    paper: ClassVar[str] = "HBPO, arXiv 2507.15844"
    explains: ClassVar[Mapping[str, str]] = {
        "hbpo.budget": "{samples} of {leaves} samples have the budget of {budget} tokens",
    }

    class Params(base.Params):
        """The budgets, and what samples are told of them."""

        budgets: tuple[Annotated[int, Field(ge=1, le=MOST_TOKENS)], ...] = Field(
            (512, 1024, 2048, 2560), min_length=1, description="tokens, of the sub-groups, ascending"
        )
        announcement: str = Field(
            "<think> I will answer the question with {budget} tokens",
            description="what samples begin with; {budget} stands for the budget; empty: they are told nothing",
        )
        capped: bool = Field(True, description="whether a budget is also the most completion tokens of its samples")

        @field_validator("budgets")
        @classmethod
        def _ascend(cls, budgets: tuple[int, ...]) -> tuple[int, ...]:
            if any(small >= large for small, large in pairwise(budgets)):
                raise ValueError("it must ascend, for equal budgets would be one sub-group")
            return budgets

        @field_validator("announcement")
        @classmethod
        def _says_the_budget(cls, announcement: str) -> str:
            if announcement and announcement.count(FIELD) != 1:
                raise ValueError(f"it must have {FIELD} in it, once, or be empty")
            return announcement

        def announce(self, budget: int) -> str:
            """What samples of a budget begin with."""
            return self.announcement.replace(FIELD, str(budget))

    def __init__(self, params: Params, limits: Limits) -> None:
        if params.budgets[-1] > limits.max_tokens:
            raise InvalidInput(
                f"branch policy 'hbpo': budgets has {params.budgets[-1]}, above max_tokens {limits.max_tokens}; lower "
                "the one or raise the other"
            )
        announced = params.budgets if params.announcement else ()
        self.needs = Needs(inserts=tuple(map(params.announce, announced)))
        self.max_leaves = limits.leaves
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return HBPOGrowth(self._params, self.max_leaves)


class HBPOGrowth(base.Growth):
    """Starts the samples, then lets every one run on."""

    def __init__(self, params: HBPO.Params, leaves: int) -> None:
        self._params = params
        self._leaves = leaves

    def start(self, tree: Tree) -> list[Expansion]:
        """All samples at once."""
        budgets = self._params.budgets
        return [
            Expansion(
                tree.root.number,
                samples,
                BranchReason.INITIAL,
                group=budget,
                resume=False,
                max_tokens=budget if self._params.capped else None,
                insert=self._params.announce(budget),
                why=because("hbpo.budget", samples=samples, leaves=self._leaves, budget=budget),
            )
            for budget, samples in zip(budgets, even(self._leaves, len(budgets)), strict=True)
            if samples
        ]

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """All samples have ended."""
        return []
