"""What decides how many leaves the tree of each task gets, and what it may know."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from treeroll.why import Why

Need = Literal["tokens", "seconds"]


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as allocators see it.

    `successes` of `scored` leaves of its earlier epochs succeeded, and their trees took `tokens` generated tokens in
    all: decayed counts, so they are no integers; 0 of 0 is a task without history, and 0 tokens one that does not say.
    """

    task_id: str
    text: str  # of the prompt
    prompt_tokens: int
    successes: float = 0.0
    scored: float = 0.0
    tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class BudgetView:
    """What a run has left, when an allocator is asked.

    `tokens_left` is without what growing trees are expected to take yet. `tokens_per_leaf` is the mean so far,
    max_tokens before there is any leaf. `tasks_left` have no tree yet, the ones being asked about included. `slots`
    branches run at once on the whole fleet.
    """

    tokens_left: int | None
    seconds_left: float | None
    tokens_per_leaf: float
    tasks_left: int
    slots: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task's tree ended: leaves with a reward, how many of them succeeded, generated tokens, seconds it grew."""

    successes: int
    scored: int
    tokens: int
    seconds: float


class Allocation(Protocol):
    """The memory of an allocator about one run. One that is `policy.memory.Lasting` outlasts the service."""

    def allocate(self, tasks: Sequence[TaskView], budget: BudgetView) -> list[int]:
        """Leaves for each of the tasks, each from the allocator's `least` to its `most`.

        A task about which nothing is known gets what `uniform` would give it, as near as those two allow.
        """
        ...

    def learn(self, task: TaskView, outcome: Outcome) -> None:
        """A tree ended. `task` is as it was when it was asked about."""
        ...


@runtime_checkable
class Explains(Protocol):
    """An allocation that says why."""

    def explain(self, task: TaskView, budget: BudgetView, leaves: int) -> Why:
        """Why it has just given the task so many. For people: it changes nothing."""
        ...


class BudgetAllocator(Protocol):
    """Decides how many leaves each task's tree gets.

    Pure, as all policies: what it gives depends on its parameters, the run's seed, and what it was asked and told.
    """

    # All tasks of a submission together, when it arrives: they get `leaves` of the run times their number in all. Or
    # each one when its tree is about to start.
    asked: Literal["submission", "start"]

    # The run must have a budget of tokens, a deadline, or, if both are here, at least one of the two.
    needs: tuple[Need, ...]

    @property
    def most(self) -> int:
        """Most leaves of one tree."""
        ...

    @property
    def least(self) -> int:
        """Fewest leaves of one tree, 1 or more."""
        ...

    @property
    def success(self) -> float | None:
        """Smallest reward that is a success; None if it does not read successes, and runs need no scorer."""
        ...

    def open(self, seed: int) -> Allocation:
        """A fresh memory for a run."""
        ...
