"""Every task gets the same: the baseline."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from treeroll.policy import base
from treeroll.policy.allocate import Allocation, BudgetView, Need, Outcome, TaskView
from treeroll.policy.base import Limits
from treeroll.why import Why, because


class Uniform:
    """`leaves` for every task: what runs do unless they ask for something else."""

    name: ClassVar[str] = "uniform"
    summary: ClassVar[str] = "every task gets `leaves`"
    paper: ClassVar[str] = "ours"
    explains: ClassVar[Mapping[str, str]] = {
        "uniform.same": "every task gets {leaves} leaves",
    }
    asked: ClassVar[Literal["submission", "start"]] = "submission"
    needs: ClassVar[tuple[Need, ...]] = ()
    success: ClassVar[None] = None

    class Params(base.Params):
        """Nothing to set."""

    def __init__(self, params: Params, limits: Limits) -> None:
        self.least = self.most = limits.leaves

    def open(self, seed: int) -> Allocation:
        """Nothing to remember."""
        return self

    def allocate(self, tasks: Sequence[TaskView], budget: BudgetView) -> list[int]:
        """The same for each."""
        return [self.most] * len(tasks)

    def explain(self, task: TaskView, budget: BudgetView, leaves: int) -> Why:
        """The same for each."""
        return because("uniform.same", leaves=leaves)

    def learn(self, task: TaskView, outcome: Outcome) -> None:
        """Nothing to learn."""
