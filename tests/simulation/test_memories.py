"""What allocators, routes and budgets by task remember is what is stored of it, after every step."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from tests.support.stored_world import StoredWorld

from treeroll.core.invariants import violations
from treeroll.core.model.budget import Budget
from treeroll.core.model.run import Run, TaskSpec
from treeroll.policies import registry
from treeroll.policy.allocate import BudgetView, TaskView
from treeroll.policy.base import Limits
from treeroll.policy.route import ModelView

LIMITS = Limits(4, 32, 4, 128)
PROBES = [TaskView(f"probe{n}", f"{n} + {7 * n} =", 8, n / 4, 1.0) for n in range(5)]
BUDGETS = [BudgetView(tokens, 60.0, 50.0, 20, 8) for tokens in (400, 4000, 40000)]
MODELS = {"small": ModelView(100.0, 500.0, 4), "large": ModelView(400.0, 900.0, 4)}


class Told(StoredWorld):
    """Tasks have prompts that differ."""

    def _task(self, number: int, epoch: int, pool: str = "") -> TaskSpec:
        return replace(super()._task(number, epoch, pool), prompt_text=f"{number} + {7 * number} =")


def world_of(allocator: str, params: dict[str, Any], **choice: Any) -> Told:
    world = Told(seed=5, replicas=2, slots=4, leaves=4, max_depth=3, tasks=12, end_share=0.05, **choice)
    allocate = registry.build("allocate", allocator, params, LIMITS)

    def branch(leaves: int) -> Any:
        return registry.build("branch", "flat", {}, replace(LIMITS, leaves=leaves))

    world.spec = replace(world.spec, allocate=allocate, branch_for=branch)
    return world


def test_a_tree_has_as_many_leaves_as_it_was_allotted_and_no_more() -> None:
    world = world_of("uniform", {})
    six = registry.build("allocate", "uniform", {}, replace(LIMITS, leaves=6))
    world.spec = replace(world.spec, allocate=six)
    world.start()
    while not any(len(live.tree.leaves) > 4 for live in world.state.trees.values()):
        world.go_on()
    live = next(live for live in world.state.trees.values() if len(live.tree.leaves) > 4)
    assert live.task.leaves == 6
    assert not violations(world.state)
    live.task = replace(live.task, leaves=4)
    assert "leaves exceed the policy's cap" in str(violations(world.state))


def shares(run: Run) -> list[Any] | None:
    """What the run's allocator would give to tasks now, and how it rates them."""
    if run.allocation is None:
        return None
    memory = deepcopy(run.allocation)
    apart = [memory.allocate([task], budget) for budget in BUDGETS for task in PROBES]
    rates = [memory._predictor.of(task) for task in PROBES] if hasattr(memory, "_predictor") else []
    return [*apart, memory.allocate(PROBES, BUDGETS[0]), rates]


def routes(run: Run) -> list[str] | None:
    """Where the run's route would send tasks now."""
    if run.routing is None:
        return None
    return [run.routing.route(task, BUDGETS[-1], MODELS) for task in PROBES]


def same_after_every_step(world: StoredWorld, remembered: Callable[[Run], object]) -> list[object]:
    """All that was remembered, one after the other."""
    seen: list[object] = []
    world.start()
    while world.go_on():
        [one] = world.remains()
        run = world.state.runs[one.run.spec.run_id]
        assert remembered(one.run) == remembered(run)
        if remembered(run) not in seen:
            seen.append(remembered(run))
    return seen


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("dual_descent", {"success": 0.5, "predictor": "prompt"}),
        ("dual_descent", {"success": 0.5}),
        ("knapsack", {"success": 0.5, "predictor": "prompt"}),
        ("mcpp", {"success": 0.5, "simulations": 4}),
    ],
    ids=str,
)
def test_an_allocator_shares_out_after_a_restart_as_it_would_have(name: str, params: dict[str, Any]) -> None:
    assert len(same_after_every_step(world_of(name, params, budget_tokens=20000), shares)) > 1


def test_a_route_sends_tasks_after_a_restart_where_it_would_have() -> None:
    world = Told(seed=5, slots=4, leaves=4, max_depth=3, tasks=16, end_share=0.05, pools={"small": 1, "large": 1})
    params = {"small": "small", "large": "large", "below": 0.5, "success": 0.5, "predictor": "prompt"}
    world.route = registry.build("route", "threshold", params, LIMITS)
    assert len(same_after_every_step(world, routes)) > 1


def test_a_budget_by_task_counts_trees_that_have_expired() -> None:
    world = StoredWorld(seed=5, leaves=4, max_depth=3, tasks=2, epochs=3, budget=Budget(task_tokens=300))
    assert len(same_after_every_step(world, lambda run: dict(run.task_ended))) > 3
    [one] = world.remains()
    ledgers = world.state.runs["run"].task_ledgers
    assert {name: ledger.spent for name, ledger in one.run.task_ledgers.items()} == {
        name: ledger.spent for name, ledger in ledgers.items()
    }


class Forgets:
    """An allocator's memory that cannot be stored."""

    name, asked, needs, least, most, success = "forgets", "start", (), 1, 8, None

    def open(self, seed: int) -> "Forgets":
        return Forgets()

    def allocate(self, tasks: Any, budget: Any) -> list[int]:
        return [4] * len(tasks)

    def learn(self, task: Any, outcome: Any) -> None:
        self.told = task


def test_a_memory_that_does_not_last_begins_anew_and_learns_on() -> None:
    world = world_of("uniform", {})
    world.spec = replace(world.spec, allocate=Forgets())  # type: ignore[arg-type]
    world.start()
    for _ in range(40):
        world.go_on()
    world.restart()
    assert isinstance(world.state.runs["run"].allocation, Forgets)
    while world.go_on():
        pass
    assert world.state.runs["run"].allocation.told  # type: ignore[union-attr]
