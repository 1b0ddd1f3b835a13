"""Replicas that fail, say nothing or lie cost no task while another one works, and are tried again."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pytest

from treeroll import errors
from treeroll.core.model.effects import Effect, StartBranch, StopBranch
from treeroll.core.model.events import (
    EndKind,
    Event,
    ReplicaFaulted,
    ReplicaHeard,
    RunCancelled,
    RunClosed,
    RunCreated,
    SegmentReported,
    TasksSubmitted,
    Ticked,
)
from treeroll.core.model.health import RESTS_S, Health, Sign
from treeroll.core.model.live_tree import TreeStatus
from treeroll.core.scheduling.prospects import FAILING_TASKS, stuck
from treeroll.simulation.world import Due, World, fingerprint

TICK_S = 2.5


@dataclass
class FailingWorld(World):
    """`failing` replicas answer every start with an error, `mute` ones never answer; both while the clock is before
    `until`. Branches of `poison` tasks fail everywhere. Everybody sends heartbeats, and time ticks, as long as trees
    grow."""

    failing: Collection[str] = ()
    mute: Collection[str] = ()
    poison: Collection[str] = ()
    until: float = float("inf")
    standings: list[tuple[float, str, str]] = field(default_factory=list)
    taken_back_at: list[float] = field(default_factory=list)

    def start(self) -> None:
        super().start()
        self.later(Ticked(), TICK_S)

    def _happen(self, what: Event | Due) -> None:
        if isinstance(what, Ticked):
            for name, incarnation in list(self.serving):
                self._feed(ReplicaHeard(name, incarnation, 0.0))
            if self.state.trees or self.state.waiting_tasks:
                self.later(Ticked(), TICK_S)
        elif isinstance(what, tuple):
            (name, incarnation), grant = what
            live, _ = self.state.grants.get(grant, (None, None))
            wrong = self.now < self.until
            if name in self.mute and wrong:
                return
            if live is not None and ((name in self.failing and wrong) or live.task.task_id in self.poison):
                if self.serving[name, incarnation].pop(grant, None) is not None:
                    self._feed(SegmentReported(name, incarnation, grant, 0, end=EndKind.ERROR, error="no kernel"))
                return
        super()._happen(what)

    def _feed(self, event: Event) -> None:
        super()._feed(event)
        for name, replica in self.state.replicas.items():
            standing = replica.health.standing
            last = next((row for row in reversed(self.standings) if row[1] == name), (0.0, name, "ready"))
            if last[2] != standing:
                self.standings.append((self.now, name, standing))

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, StartBranch):
            replica = self.state.replicas[effect.replica_id]
            assert replica.health.standing != "quarantined"
            assert replica.health.standing != "suspect" or replica.grants == {effect.grant}
        if isinstance(effect, StopBranch) and effect.grant not in self.state.grants:
            self.taken_back_at.append(self.now)
        super()._perform(effect)

    def history(self, name: str) -> list[str]:
        return [standing for _, who, standing in self.standings if who == name]


def grown(**changes: Any) -> FailingWorld:
    world = FailingWorld(
        **{"seed": 3, "replicas": 3, "slots": 6, "leaves": 4, "tasks": 30, "end_share": 0.005, **changes}
    )
    assert len(world.run()) == world.tasks
    return world


def undisturbed(tasks: int = 30) -> list[tuple[object, ...]]:
    world = World(seed=1, replicas=1, slots=64, leaves=4, tasks=tasks, end_share=0.005)
    world.run()
    return fingerprint(world)


@pytest.mark.parametrize("placement", ["parent_affinity", "least_loaded", "round_robin"])
@pytest.mark.parametrize("failing", [["r0"], ["r0", "r2"]], ids=len)
def test_replicas_that_fail_every_branch_cost_no_task_while_another_works(failing: list[str], placement: str) -> None:
    world = grown(failing=failing, placement=placement)
    assert fingerprint(world) == undisturbed()
    for name in failing:
        assert world.history(name)[:2] == ["suspect", "quarantined"]
        assert "the last because no kernel" in world.state.health[name].reason


def test_one_that_recovers_is_tried_again_and_is_ready_again() -> None:
    world = grown(failing=["r0"], until=20.0, tasks=80)
    assert world.history("r0") == ["suspect", "quarantined", "suspect", "ready"]
    rest, again = (when for when, who, _ in world.standings[1:3] if who == "r0")
    assert again - rest == pytest.approx(RESTS_S[0])
    assert (world.state.health["r0"].rests, world.state.health["r0"].reason) == (0, "")


def test_rests_grow_while_a_replica_does_not_recover() -> None:
    health, rests = Health(), []
    for _ in range(5):
        health.take(Sign.FAULT, "it lies", 1000.0)
        rests.append(health.until - 1000.0)
        health.take(Sign.RESTED, "", health.until)
    assert rests == [60.0, 120.0, 240.0, 240.0, 240.0]
    health.take(Sign.PASSED, "", 5000.0)
    health.take(Sign.FAULT, "it lies", 6000.0)
    assert health.until == 6060.0


def test_more_than_a_fifth_of_fifty_ends_makes_a_suspect_though_none_follow_each_other() -> None:
    health = Health()
    signs = []
    for number in range(11):
        signs.append(health.ended_badly(f"tree{number}"))
        assert not any(health.ended_well() for _ in range(3))
    assert signs == [False] * 10 + [True]
    few = Health()
    for number in range(40):
        assert not few.ended_badly(f"tree{number}")
        assert not any(few.ended_well() for _ in range(4))


def test_a_task_that_no_engine_can_grow_costs_no_replica_its_standing() -> None:
    world = grown(poison=["t3"], tasks=12)
    assert world.standings == []
    assert [live.task.task_id for live in world.finished.values() if live.status is TreeStatus.FAILED] == ["t3"]


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_many_such_tasks_end_and_no_other_task_fails(replicas: int) -> None:
    poison = [f"t{number}" for number in range(0, 30, 4)]
    world = grown(poison=poison, replicas=replicas)
    failed = {live.task.task_id for live in world.finished.values() if live.status is not TreeStatus.COMPLETE}
    assert failed == set(poison)


def test_the_last_replica_that_works_is_never_quarantined_for_errors_and_its_tasks_end() -> None:
    world = grown(failing=["r0"], replicas=1, tasks=6)
    assert world.history("r0") == ["suspect"]
    assert {live.status for live in world.finished.values()} == {TreeStatus.FAILED}
    run = world.state.runs["run"]
    assert run.counters.engine_errors == 6 * 5 * 2  # of two first branches each
    assert {live.error for live in world.finished.values()} == {
        "5 requests of a branch failed, the last because no kernel"
    }
    assert run.engine_error == "no kernel"
    assert (run.ledger.outstanding, run.ledger.spent) == (0, 0)


def test_whoever_waits_for_a_run_whose_only_replica_fails_every_branch_is_told_after_64_tasks() -> None:
    class Open(FailingWorld):
        def _feed(self, event: Event) -> None:
            if not isinstance(event, RunClosed):
                super()._feed(event)
            run = self.state.runs.get("run")
            if run is not None:
                told.append((run.failed, stuck(run)))

    told: list[tuple[int, str]] = []
    Open(seed=3, replicas=1, slots=8, leaves=2, tasks=FAILING_TASKS + 2, failing=["r0"]).run()
    assert {failed for failed, why in told if why} == {FAILING_TASKS, FAILING_TASKS + 1, FAILING_TASKS + 2}
    assert all("no kernel" in why for _, why in told if why)


def test_the_clock_of_silence_starts_when_a_branch_is_granted_and_not_before() -> None:
    world = FailingWorld(seed=3, replicas=1, slots=8, leaves=4, tasks=4, mute=["r0"])
    world._join("r0")
    world.now = 100.0
    for event in (RunCreated(world.spec), TasksSubmitted("run", [world._task(0, 0)])):
        world._feed(event)
    for waited, standing in ((29.0, "ready"), (31.0, "suspect")):
        world.now = 100.0 + waited
        world._feed(ReplicaHeard("r0", 1, 0.0))
        world._feed(Ticked())
        assert world.state.replicas["r0"].health.standing == standing


def test_the_clock_of_silence_begins_anew_when_the_service_was_held_up() -> None:
    world = FailingWorld(seed=3, replicas=1, slots=8, leaves=4, tasks=4, mute=["r0"])
    world._join("r0")
    for event in (RunCreated(world.spec), TasksSubmitted("run", [world._task(0, 0)])):
        world._feed(event)
    assert world.state.replicas["r0"].grants
    for now, anew, standing in ((100.0, True, "ready"), (129.0, False, "ready"), (131.0, False, "suspect")):
        world.now = now
        world._feed(ReplicaHeard("r0", 1, 0.0))
        world._feed(Ticked(anew))
        assert world.state.replicas["r0"].health.standing == standing


def test_tasks_that_come_after_the_cancel_of_their_run_are_refused() -> None:
    world = FailingWorld(seed=3, replicas=1)
    world._join("r0")
    world._feed(RunCreated(world.spec))
    world._feed(RunCancelled("run"))
    with pytest.raises(errors.RunClosed, match="is cancelled; it takes no more tasks"):
        world._feed(TasksSubmitted("run", [world._task(0, 0)]))
    world._audit()
    assert not world.state.runs["run"].tasks


def test_a_mute_replica_loses_its_branches_within_45_seconds() -> None:
    world = grown(mute=["r1"])
    assert fingerprint(world) == undisturbed()
    assert world.history("r1")[0] == "suspect"
    assert 30.0 < world.taken_back_at[0] <= 45.0
    assert "it made no token of " in world.state.health["r1"].reason


def test_without_others_a_mute_replica_keeps_its_branches() -> None:
    world = FailingWorld(seed=3, replicas=1, slots=8, leaves=4, tasks=4, mute=["r0"])
    world.start()
    while world.now < 100.0:
        world.go_on()
    assert world.history("r0") == ["suspect"]
    assert len(world.state.grants) == 8
    assert world.taken_back_at == []


def test_a_replica_that_lies_rests_in_whatever_life_it_comes_back() -> None:
    world = grown_after_fault(["r0"])
    assert fingerprint(world) == undisturbed(50)
    assert world.history("r0")[:2] == ["quarantined", "suspect"]
    fault, tried = (when for when, who, _ in world.standings[:2] if who == "r0")
    assert tried - fault == pytest.approx(RESTS_S[0])


def grown_after_fault(names: list[str]) -> FailingWorld:
    world = FailingWorld(seed=3, replicas=2, slots=4, leaves=4, tasks=50, end_share=0.005)
    world.start()
    for name in names:
        grant = min(world.state.replicas[name].grants)
        world._feed(ReplicaFaulted(name, 1, "its node cannot be read", grant))
    while world.go_on():
        pass
    return world


def test_a_tree_of_which_replica_after_replica_lies_is_quarantined() -> None:
    world = FailingWorld(seed=3, replicas=3, slots=32, leaves=4, tasks=6, max_losses=2)
    world.start()
    for _ in range(2):
        grant = next(grant for grant, (live, _) in world.state.grants.items() if live.task.task_id == "t1")
        origin = world.state.grants[grant][1].origin
        world._feed(ReplicaFaulted(origin.replica_id, origin.incarnation, "its ids are unknown", grant))
    while world.go_on():
        pass
    assert world.state.runs["run"].quarantined == ["t1"]
    error = world.finished["tree1"].error
    assert error == "task 't1' is quarantined: 2 reports of it could not be taken, the last: its ids are unknown"
    assert sum(live.status is TreeStatus.COMPLETE for live in world.finished.values()) == 5
