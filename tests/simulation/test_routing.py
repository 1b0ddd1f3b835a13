"""A route sends tasks to models: each tree grows where it says, whatever the pools, and nothing waits for nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from treeroll.core.model.budget import Budget
from treeroll.core.model.events import RunCreated, TasksSubmitted
from treeroll.core.model.live_tree import TreeStatus
from treeroll.core.scheduling.assign import unfinished
from treeroll.core.scheduling.routing import SENT_AT_ONCE
from treeroll.policies import registry
from treeroll.policy.allocate import BudgetView, Outcome, TaskView
from treeroll.policy.base import Limits
from treeroll.policy.route import ModelView
from treeroll.simulation.world import World, fingerprint

Told = tuple[str, str, Outcome]


@dataclass
class ByNumber:
    """Even tasks to the small model, odd ones to the large one, or all to `always`; notes what it is asked and told."""

    always: str = ""
    models: tuple[str, ...] = ("small", "large")
    rated: str | None = "small"
    success: float | None = 0.5
    asked: list[tuple[TaskView, BudgetView, dict[str, ModelView]]] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    def open(self, seed: int) -> "ByNumber":
        return self

    def route(self, task: TaskView, budget: BudgetView, models: Mapping[str, ModelView]) -> str:
        self.asked.append((task, budget, dict(models)))
        return self.always or self.models[int(task.task_id[1:]) % 2]

    def learn(self, task: TaskView, outcome: Outcome, model: str) -> None:
        self.told.append((task.task_id, model, outcome))


def grown(route: ByNumber | None = None, **fields: object) -> World:
    world = World(**{"seed": 3, "tasks": 12, "leaves": 4, "max_depth": 4, "route": route or ByNumber(), **fields})  # type: ignore[arg-type]
    world.run()
    return world


@pytest.mark.parametrize("kill_share", [0.0, 0.02])
@pytest.mark.parametrize("pools", [{"small": 1, "large": 3}, {"large": 1, "small": 2}], ids=str)
def test_every_tree_grows_where_its_task_is_sent(pools: dict[str, int], kill_share: float) -> None:
    world = grown(pools=pools, slots=2, kill_share=kill_share)
    assert len(world.finished) == 12
    for live in world.finished.values():
        expected = ("small", "large")[int(live.task.task_id[1:]) % 2]
        assert live.task.model == expected
        assert {node.replica_id[:-1] for node in live.tree.nodes[1:]} == {expected}
    uses = world.state.runs["run"].uses
    assert [use.trees for use in uses.values()] == [6, 6]
    assert sum(use.tokens for use in uses.values()) == world.state.runs["run"].ledger.spent
    assert [use.promised for use in uses.values()] == pytest.approx([0.0, 0.0])


def test_trees_are_the_same_whatever_the_pools_and_the_order() -> None:
    alone = grown(pools={"small": 1, "large": 1}, slots=64)
    other = grown(pools={"large": 2, "small": 3}, seed=4, slots=2, kill_share=0.02)
    assert fingerprint(other) == fingerprint(alone)


def test_tasks_for_a_pool_without_replicas_wait_and_the_others_do_not() -> None:
    world = grown(pools={"large": 0, "small": 1}, slots=2)
    assert {live.task.task_id for live in world.finished.values()} == {f"t{n}" for n in range(0, 12, 2)}
    run = world.state.runs["run"]
    assert len(run.waiting) == 6
    assert not unfinished(world.state)


def test_a_task_that_is_sent_elsewhere_when_its_turn_comes_goes_there() -> None:
    """All are sent to the large model first; those that have not started are then sent to the small one."""

    class Turns(ByNumber):
        def route(self, task: TaskView, budget: BudgetView, models: Mapping[str, ModelView]) -> str:
            super().route(task, budget, models)
            return "large" if len(self.told) < 2 else "small"

    world = grown(Turns(), pools={"small": 2, "large": 1}, slots=1)
    made = {live.task.model for live in world.finished.values()}
    assert made == {"small", "large"}
    assert len(world.finished) == 12


def test_a_route_sees_what_each_model_took_and_what_the_run_has_left() -> None:
    route = ByNumber()
    world = grown(route, pools={"small": 1, "large": 1}, slots=2, budget=Budget(60_000))
    task, budget, models = route.asked[0]
    most = 4 * world.spec.max_tokens
    assert (task.successes, task.scored, budget.tokens_left, budget.tasks_left) == (0, 0, 60_000, 12)
    assert models == {"small": ModelView(float(most), 0.0, 2), "large": ModelView(float(most), 0.0, 2)}
    _, budget, models = route.asked[-1]
    assert budget.tasks_left == 1
    for name, model in models.items():
        ended = [outcome.tokens for _, made, outcome in route.told if made == name]
        assert 0 < model.tokens_per_tree < most
        assert model.tokens <= sum(ended) + len(ended) * model.tokens_per_tree
    assert {(task_id, made) for task_id, made, _ in route.told} == {
        (f"t{n}", ("small", "large")[n % 2]) for n in range(12)
    }


def test_only_the_rated_models_trees_count_as_a_tasks_history() -> None:
    route = ByNumber()
    world = grown(route, pools={"small": 1, "large": 1}, slots=2)
    assert set(world.state.runs["run"].history.records) == {f"t{n}" for n in range(0, 12, 2)}


def test_the_threshold_sends_what_the_small_model_failed_to_the_large_one() -> None:
    limits = Limits(4, 32, 4, 128)
    threshold = registry.build("route", "threshold", {"below": 0.5}, limits)
    world = World(seed=3, tasks=12, leaves=4, max_depth=4, end_share=0.02, pools={"small": 1, "large": 1}, slots=2)
    world.spec = replace(world.spec, models=("small", "large"), route=threshold)
    for name in world.incarnation:
        world._join(name)
    world._feed(RunCreated(world.spec))
    world._feed(TasksSubmitted("run", [world._task(n, 0) for n in range(12)]))
    while world.go_on():
        pass
    first = dict(world.finished)
    assert {live.task.model for live in first.values()} == {"small"}
    world._feed(TasksSubmitted("run", [world._task(n, 1) for n in range(12)]))
    while world.go_on():
        pass
    for n in range(12):
        rewards = [reward for reward in first[f"tree{n}"].tree.rewards.values() if reward is not None]
        hard = bool(rewards) and sum(rewards) / len(rewards) < 0.5
        assert world.finished[f"tree{n}-1"].task.model == ("large" if hard else "small")
    assert {live.task.model for live in world.finished.values()} == {"small", "large"}


def test_many_tasks_are_sent_in_slices_so_that_no_step_is_long() -> None:
    route = ByNumber(always="large")
    world = World(seed=3, pools={"small": 1, "large": 0}, route=route)
    for name in world.incarnation:
        world._join(name)
    world._feed(RunCreated(world._specs()[0]))
    count = 3 * SENT_AT_ONCE
    world._feed(TasksSubmitted("run", [world._task(n, 0) for n in range(count)]))
    assert len(route.asked) <= 2 * SENT_AT_ONCE
    assert unfinished(world.state)


def test_where_a_route_names_another_model_no_tree_starts() -> None:
    world = grown(ByNumber(always="huge"), pools={"small": 1, "large": 1})
    for live in world.finished.values():
        assert live.error == "route policy 'ByNumber' names model 'huge', none of the run's"
        assert live.status is TreeStatus.FAILED


def test_a_run_that_is_cancelled_fails_its_tasks_wherever_they_wait() -> None:
    pools = {"large": 0, "small": 1}
    world = World(seed=3, pools=pools, slots=1, tasks=12, budget=Budget(seconds=2.0), route=ByNumber())
    world.run()
    assert len(world.finished) == 12
    odd = [live for live in world.finished.values() if int(live.task.task_id[1:]) % 2]
    assert {live.status for live in odd} == {TreeStatus.FAILED}
    assert not len(world.state.runs["run"].waiting)
