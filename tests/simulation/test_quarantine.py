"""Tasks that replicas die of: they are found, ended and named, and no other task is charged for them."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import pytest

from treeroll.core.model.events import Event
from treeroll.core.model.live_tree import TreeStatus
from treeroll.policies import registry
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Limits
from treeroll.simulation.world import Due, World, fingerprint
from treeroll.tree.rng import uniform


@dataclass
class DeadlyWorld(World):
    """A replica dies while it decodes a branch of a deadly task, below some depth and as often as `chance` says."""

    deadly: Collection[str] = ()
    depth: int = 0
    chance: float = 1.0
    deaths: int = 0
    alone: int = 0

    def _happen(self, what: Event | Due) -> None:
        if isinstance(what, tuple):
            (name, incarnation), grant = what
            serving = self.serving.get((name, incarnation), {}).get(grant)
            live, branch = self.state.grants.get(grant, (None, None))
            if serving is not None and live is not None and live.task.task_id in self.deadly:
                deep = branch.depth >= self.depth  # type: ignore[union-attr]
                if deep and uniform(grant, "deadly", serving.boundary) < self.chance:
                    self.deaths += 1
                    grants = self.state.replicas[name].grants
                    self.alone += len({self.state.grants[grant][0].tree_id for grant in grants}) == 1
                    self.kill(name)
                    return
        super()._happen(what)


def grown(**changes: Any) -> DeadlyWorld:
    world = DeadlyWorld(**{"seed": 3, "leaves": 4, "max_losses": 2, "end_share": 0.005, **changes})
    assert len(world.run()) == world.tasks
    return world


def check(world: DeadlyWorld) -> None:
    """The deadly tasks, and no others, are quarantined; the others' trees are as if nothing had happened."""
    run = world.state.runs["run"]
    assert sorted(run.quarantined) == sorted(world.deadly)
    healthy = World(seed=1, replicas=1, slots=64, leaves=4, end_share=0.005, tasks=world.tasks)
    healthy.run()
    dead = {f"tree{task[1:]}" for task in world.deadly}
    assert [row for row in fingerprint(world) if row[0] not in dead] == [
        row for row in fingerprint(healthy) if row[0] not in dead
    ]
    for tree_id in dead:
        live = world.finished[tree_id]
        assert live.status in (TreeStatus.PARTIAL, TreeStatus.FAILED)
        assert live.error.startswith(f"task '{live.task.task_id}' is quarantined: ")
        assert "the last alone: killed" in live.error


@pytest.mark.parametrize("depth", [0, 2, 4])
@pytest.mark.parametrize("slots", [1, 4, 32])
def test_with_one_replica_a_task_that_kills_twice_is_quarantined(slots: int, depth: int) -> None:
    world = grown(replicas=1, slots=slots, tasks=4, deadly=["t2"], depth=depth)
    check(world)
    assert world.deaths == 2


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("deadly", [["t0"], ["t1", "t2"], ["t0", "t3", "t6", "t9"]], ids=len)
@pytest.mark.parametrize("depth", [0, 3])
def test_several_of_them_are_told_apart(replicas: int, deadly: list[str], depth: int) -> None:
    world = grown(replicas=replicas, slots=6, tasks=12, deadly=deadly, depth=depth)
    check(world)
    # In company, once again, alone; and where it runs still when it is suspected already.
    assert world.deaths <= 4 * len(deadly)


def test_among_many_suspects_the_one_is_found_by_dividing_them() -> None:
    world = grown(replicas=1, slots=400, tasks=60, deadly=["t41"], depth=1)
    check(world)
    # 60 suspects, then 8, then 1.
    assert world.deaths == 3


@pytest.mark.parametrize("chance", [0.3, 0.05])
@pytest.mark.parametrize("replicas", [1, 2])
def test_a_task_that_kills_only_now_and_then_is_the_only_one_that_can_be_quarantined(
    replicas: int, chance: float
) -> None:
    world = grown(replicas=replicas, slots=8, tasks=6, deadly=["t2"], chance=chance)
    assert world.deaths
    assert set(world.state.runs["run"].quarantined) <= {"t2"}
    assert all(live.status is TreeStatus.COMPLETE for name, live in world.finished.items() if name != "tree2")


def test_more_losses_may_be_allowed() -> None:
    assert grown(replicas=1, slots=8, tasks=4, deadly=["t2"], max_losses=5).deaths == 5


def test_after_a_replica_has_died_by_chance_others_take_its_trees_at_once() -> None:
    world = DeadlyWorld(seed=5, replicas=3, slots=8, leaves=4)
    world.start()
    while world.state.replicas["r1"].grants == set():
        world.go_on()
    world.kill("r1")
    assert not world.state.pools[""].quarantine.of
    assert not any(
        branch.state == "pending" for live in world.state.trees.values() for branch in live.branches.values()
    )


def test_the_trees_of_the_only_replica_grow_one_after_another_when_it_comes_back() -> None:
    world = DeadlyWorld(seed=5, replicas=1, slots=32, leaves=4, tasks=4)
    world.start()
    world.kill("r0")
    seen = []
    while world.go_on():
        growing = {live.tree_id for live, _ in world.state.grants.values()}
        seen.append(len(growing))
    assert max(seen) == 1
    assert all(live.status is TreeStatus.COMPLETE for live in world.finished.values())
    quarantine = world.state.pools[""].quarantine
    assert (quarantine.losses, quarantine.of, quarantine.ward) == ({}, {}, None)


@pytest.mark.parametrize("seed", range(12))
def test_suspects_of_two_pools_do_not_wait_for_each_other(seed: int) -> None:
    limits = Limits(leaves=16, segment_tokens=32, max_depth=4, max_tokens=128)
    shape = build_policies("flat", limits, {"segment": {"name": "agent_step"}})
    policies = replace(shape, branch=registry.build("branch", "cascade", {"surprisal": 0.27}, limits))
    world = World(seed=seed, replicas=2, slots=3, policies=policies, limits=limits, tasks=4, kill_share=0.05)
    assert len(world.run()) == 4
