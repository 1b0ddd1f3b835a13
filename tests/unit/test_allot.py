"""When allocators are asked how many leaves a task gets, and what they are told."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest

from treeroll.core.model.budget import Budget
from treeroll.core.model.events import RunClosed, RunCreated, TasksSubmitted
from treeroll.errors import PolicyFailed
from treeroll.policies.resolve import build_policies
from treeroll.policy.allocate import BudgetView, Outcome, TaskView
from treeroll.policy.base import Limits
from treeroll.simulation.world import SEGMENT_TOKENS, World


@dataclass
class Noted:
    """An allocator that gives what it is told to, and notes what it hears."""

    asked: Literal["submission", "start"] = "submission"
    gives: Sequence[int] = (1, 2, 3)
    success: float | None = 0.5
    least: int = 1
    most: int = 3
    questions: list[tuple[list[TaskView], BudgetView]] = field(default_factory=list)
    outcomes: list[tuple[TaskView, Outcome]] = field(default_factory=list)

    def open(self, seed: int) -> "Noted":
        return self

    def allocate(self, tasks: Sequence[TaskView], budget: BudgetView) -> list[int]:
        self.questions.append((list(tasks), budget))
        return [self.gives[int(task.task_id[1:]) % len(self.gives)] for task in tasks]

    def learn(self, task: TaskView, outcome: Outcome) -> None:
        self.outcomes.append((task, outcome))


class Allotted(World):
    """A world whose run has an allocator; two epochs of three tasks."""

    def grow(self, allocator: Noted, budget_tokens: int | None = None) -> None:
        def branch_for(leaves: int) -> object:
            limits = Limits(leaves, SEGMENT_TOKENS, self.max_depth, SEGMENT_TOKENS * self.max_depth)
            return build_policies(self.recipe, limits, self.overrides).branch

        self.spec = replace(self.spec, allocate=allocator, branch_for=branch_for, budget=Budget(budget_tokens))
        for name in self.incarnation:
            self._join(name)
        self._feed(RunCreated(self.spec))
        for epoch in (0, 1):
            tasks = [replace(self._task(n, epoch), tree_id=f"t{n}-{epoch}") for n in range(3)]
            self._feed(TasksSubmitted("run", tasks))
            self.drain()
        self._feed(RunClosed("run"))

    def drain(self) -> None:
        while self.queue:
            self.now, _, what = self.queue.pop(0)
            self.queue.sort()
            self._happen(what)


@pytest.mark.parametrize("asked", ["submission", "start"])
def test_a_tree_has_the_leaves_its_task_was_given(asked: Literal["submission", "start"]) -> None:
    world, allocator = Allotted(seed=1, recipe="flat"), Noted(asked)
    world.grow(allocator)
    assert {name: len(live.tree.leaves) for name, live in world.finished.items()} == {
        "t0-0": 1, "t1-0": 2, "t2-0": 3, "t0-1": 1, "t1-1": 2, "t2-1": 3,
    }  # fmt: skip
    assert [len(tasks) for tasks, _ in allocator.questions] == ([3, 3] if asked == "submission" else [1] * 6)


def test_the_next_epoch_knows_how_often_tasks_succeeded() -> None:
    world, allocator = Allotted(seed=1, recipe="flat"), Noted()
    world.grow(allocator)
    first, second = (tasks for tasks, _ in allocator.questions)
    assert all((task.successes, task.scored) == (0, 0) for task in first)
    for task in second:
        live = world.finished[f"{task.task_id}-0"]
        rewards = [reward for reward in live.tree.rewards.values() if reward is not None]
        assert (task.successes, task.scored) == (sum(rewards) / 2, len(rewards) / 2)
        assert task.tokens == live.ledger.spent / 2 > 0


def test_allocators_are_told_what_each_tree_took() -> None:
    world, allocator = Allotted(seed=1, recipe="flat"), Noted()
    world.grow(allocator)
    assert sum(outcome.tokens for _, outcome in allocator.outcomes) == world.state.runs["run"].ledger.spent
    assert all(outcome.seconds > 0 for _, outcome in allocator.outcomes)
    assert len(allocator.outcomes) == 6


def test_allocators_see_what_is_left() -> None:
    world, allocator = Allotted(seed=1, recipe="flat"), Noted("start")
    world.grow(allocator, budget_tokens=100_000)
    budgets = [budget for _, budget in allocator.questions]
    assert [budget.tasks_left for budget in budgets] == [3, 2, 1, 3, 2, 1]
    assert budgets[0].tokens_left == 100_000
    assert budgets[0].tokens_per_leaf == SEGMENT_TOKENS * world.max_depth
    left = [budget.tokens_left or 0 for budget in budgets]
    # A tree that has only started counts with what it is expected to take.
    assert left[1] == 100_000 - SEGMENT_TOKENS * world.max_depth
    assert left[-1] < left[0]


def test_a_submission_with_leaves_out_of_bounds_is_refused_and_no_task_is_accepted() -> None:
    world = Allotted(seed=1, recipe="flat")
    with pytest.raises(PolicyFailed, match="gives 3 tasks"):
        world.grow(Noted(gives=(4,)))
    assert not world.state.runs["run"].tasks
