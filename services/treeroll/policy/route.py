"""What decides which of several models grows a task's tree, and what it may know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from treeroll.policy.allocate import BudgetView, Outcome, TaskView


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model that a route may name, when it is asked.

    `tokens_per_tree` is what a tree is expected to take: the mean of the run's trees that ended there; before there is
    one, as much as a tree may. `tokens` is what the run's trees there took, growing ones with what they are expected to
    take. `slots` branches run there at once; 0 while it has no replica.
    """

    tokens_per_tree: float
    tokens: float
    slots: int


class Routing(Protocol):
    """The memory of a route about one run. One that is `policy.memory.Lasting` outlasts the service."""

    def route(self, task: TaskView, budget: BudgetView, models: Mapping[str, ModelView]) -> str:
        """The model that is to grow the task's tree, one of the policy's `models`, of which all are shown.

        Asked when there is a place for a tree with one of the models: more than once, and with other budgets, if it
        names another. Equal questions have equal answers, until it is told of a tree. Where some models are expected to
        take more than is left and some are not, it names one that is not (the hard-budget mask).
        """
        ...

    def learn(self, task: TaskView, outcome: Outcome, model: str) -> None:
        """A tree of this model ended. `task` is as it was when it was asked about."""
        ...


class RoutePolicy(Protocol):
    """Decides which model grows each task's tree.

    Pure, as all policies: what it says depends on its parameters, the run's seed, and what it was asked and told.
    """

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that it may name: the service must serve them all."""
        ...

    @property
    def rated(self) -> str | None:
        """The model whose trees the successes in a TaskView are of; None: all of them."""
        ...

    @property
    def success(self) -> float | None:
        """Smallest reward that is a success; None if it does not read successes, and runs need no scorer."""
        ...

    def open(self, seed: int) -> Routing:
        """A fresh memory for a run."""
        ...
