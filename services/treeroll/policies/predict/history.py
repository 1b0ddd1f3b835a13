"""The success rate of a task from its earlier epochs."""

from typing import ClassVar

from treeroll.policy.allocate import TaskView
from treeroll.policy.memory import Parts


class History:
    """Mean of the Beta posterior of what the task's earlier trees showed: (successes + prior) / (scored + 2 prior).

    A prior of 0 is the observed rate itself, as Knapsack RL (arXiv 2509.25849) takes it from the epoch before: it may
    be 0 or 1. Ours: the prior, which draws rates of few leaves towards 1/2; and that counts of all epochs are used,
    decayed as the run says. It knows nothing of tasks that it has not seen, and learns nothing: the store does.
    """

    name: ClassVar[str] = "history"
    summary: ClassVar[str] = "success rate of the task's own earlier trees, with a Beta prior"

    def __init__(self, prior: float = 0.0) -> None:
        self._prior = prior

    def of(self, task: TaskView) -> float | None:
        """The rate, from 0 to 1; None for a task without scored leaves."""
        if task.scored <= 0:
            return None
        # Decayed counts are rounded, each for itself.
        return min(1.0, (task.successes + self._prior) / (task.scored + 2 * self._prior))

    def learn(self, task: TaskView, successes: int, scored: int) -> None:
        """What this task's leaves did is in its history."""

    def changes(self) -> Parts:
        """Nothing: it remembers nothing."""
        return {}

    def restore(self, parts: Parts) -> None:
        """Nothing."""
