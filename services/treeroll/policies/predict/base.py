"""Who says how likely a task is solved before its tree grows."""

from typing import Protocol

from treeroll.policy.allocate import TaskView
from treeroll.policy.memory import Parts


class SuccessPredictor(Protocol):
    """The success rate of one sample of a task, from what is known before. One object per run, which it learns from.

    Pure: what it says depends on what it was told, in that order.
    """

    def of(self, task: TaskView) -> float | None:
        """The rate, from 0 to 1; None where nothing is known: callers then give the task what `uniform` would."""
        ...

    def learn(self, task: TaskView, successes: int, scored: int) -> None:
        """`successes` of the `scored` leaves of a task's tree succeeded."""
        ...

    def changes(self) -> Parts:
        """As `policy.memory.Lasting`."""
        ...

    def restore(self, parts: Parts) -> None:
        """As `policy.memory.Lasting`. Parts of other names are others'."""
        ...
