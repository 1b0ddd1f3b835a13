"""Replicas that are to end get no more work, have time to end what they run, and cost no tree anything."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treeroll.core.model.branch import BranchState, Outcome
from treeroll.core.model.effects import DropReplica, Effect, StartBranch
from treeroll.core.model.events import LossKind
from treeroll.core.model.live_tree import TreeStatus
from treeroll.simulation.world import Due, World, fingerprint

FOREVER_S = 1e6


@dataclass
class Watched(World):
    """A world that notes how its replicas go, and in which none that drains is granted anything."""

    ends: Counter[LossKind] = field(default_factory=Counter)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, StartBranch):
            assert self.state.replicas[effect.replica_id].drain is None
        if isinstance(effect, DropReplica):
            self.ends[effect.kind] += 1
        super()._perform(effect)

    def step_until(self, grants: int) -> None:
        """Until so many branches run."""
        while len(self.state.grants) < grants:
            assert self.go_on()

    def finish(self) -> None:
        while self.go_on():
            pass


def running(world: World) -> Iterator[Due]:
    for (name, incarnation), serving in world.serving.items():
        yield from (((name, incarnation), grant) for grant in serving)


@cache
def undisturbed(recipe: str = "treepo") -> list[tuple[object, ...]]:
    alone = World(seed=1, replicas=1, slots=64, recipe=recipe)
    alone.run()
    return fingerprint(alone)


@pytest.mark.parametrize("recipe", ["treepo", "flat", "rebase"])
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    replicas=st.integers(1, 4),
    share=st.sampled_from([0.01, 0.05, 0.1]),
    within_s=st.sampled_from([0.0, 2.0, 20.0]),
    kill_share=st.sampled_from([0.0, 0.02]),
)
def test_trees_are_the_same_with_and_without_drains(
    recipe: str, seed: int, replicas: int, share: float, within_s: float, kill_share: float
) -> None:
    world = World(
        seed=seed, replicas=replicas, slots=3, recipe=recipe, drain_share=share, drain_s=within_s, kill_share=kill_share
    )
    trees = world.run()
    assert fingerprint(world) == undisturbed(recipe)
    assert all(live.status is TreeStatus.COMPLETE for live in trees.values())
    run = world.state.runs["run"]
    assert run.ledger.balanced()
    assert run.ledger.outstanding == 0
    assert run.ledger.spent == sum(live.ledger.spent for live in trees.values())
    assert not world.state.grants
    if not kill_share:
        assert world.state.pools[""].outcomes[Outcome.LOST] == 0
        assert not any(health.failed for health in world.state.health.values())
        assert world.state.pools[""].quarantine.losses == {}


def test_what_runs_may_end_and_its_replica_then_leaves() -> None:
    world = Watched(replicas=2, slots=4)
    world.start()
    world.step_until(8)
    world.drain("r0", FOREVER_S)
    had = set(world.state.replicas["r0"].grants)
    world.finish()
    assert len(had) == 4
    assert fingerprint(world) == undisturbed()
    assert world.ends == {LossKind.DRAINED: 1}
    assert world.state.pools[""].outcomes[Outcome.DRAINED] == 0
    assert world.state.runs["run"].counters.regrants == 0


def test_what_waits_for_one_that_is_to_end_goes_to_others_while_that_ends_what_it_runs() -> None:
    world = Watched(replicas=2, slots=2)
    world.start()
    ends, stays = world.state.replicas["r0"], world.state.replicas["r1"]
    while not ends.queue.has_pending:
        assert world.go_on()
    waited = {id(entry[-1]) for entry in ends.queue.heap if entry[-1].state is BranchState.PENDING}
    world.drain("r0", FOREVER_S)
    assert ends.grants  # these go on where they are
    queued = {id(entry[-1]) for queue in (stays.queue, world.state.pools[""].anywhere) for entry in queue.heap}
    started = {id(world.state.grants[grant][1]) for grant in stays.grants}
    assert waited <= queued | started
    world.finish()
    assert fingerprint(world) == undisturbed()


def test_what_is_left_at_the_deadline_is_moved_and_counted_apart() -> None:
    world = Watched(replicas=2, slots=4)
    world.start()
    world.step_until(8)
    world.drain("r0", 0.05)
    moved = len(world.state.replicas["r0"].grants)
    world.finish()
    assert fingerprint(world) == undisturbed()
    assert world.ends == {LossKind.DRAINED: 1}
    outcomes = world.state.pools[""].outcomes
    assert 0 < outcomes[Outcome.DRAINED] <= moved
    assert outcomes[Outcome.LOST] == 0
    assert world.state.runs["run"].counters.regrants == outcomes[Outcome.DRAINED]


def test_one_whose_machine_is_taken_away_is_counted_so_however_it_ends() -> None:
    in_order = Watched(replicas=2, slots=4)
    in_order.start()
    in_order.step_until(8)
    in_order.drain("r0", FOREVER_S)
    in_order.drain("r0", FOREVER_S, preempted=True)  # the same end, and now it is known why
    in_order.finish()
    assert in_order.ends == {LossKind.PREEMPTED: 1}
    assert in_order.state.runs["run"].counters.regrants == 0

    at_once = Watched(replicas=2, slots=4)
    at_once.start()
    at_once.step_until(8)
    at_once.drain("r0", FOREVER_S, preempted=True)
    at_once.kill("r0")  # before its time
    at_once.finish()
    assert fingerprint(at_once) == undisturbed()
    assert at_once.ends == {LossKind.PREEMPTED: 1}
    assert at_once.state.pools[""].quarantine.losses == {}


def test_where_all_replicas_drain_work_waits_for_others() -> None:
    world = Watched(replicas=3, slots=2, drain_s=50.0)
    world.start()
    world.step_until(6)
    for name in ("r0", "r1", "r2"):
        world.drain(name, 0.5)
    while world.state.replicas:
        assert world.go_on()
    assert world.state.trees
    assert not world.state.grants
    world.finish()
    assert fingerprint(world) == undisturbed()
    assert world.ends == {LossKind.DRAINED: 3}


def test_an_earlier_deadline_counts_and_a_later_one_does_not() -> None:
    world = Watched(replicas=2, slots=4)
    world.start()
    world.step_until(8)
    world.drain("r0", 0.05)
    world.drain("r0", FOREVER_S)
    world.drain("r1", FOREVER_S)
    world.drain("r1", 0.05)
    assert {name: replica.drain.deadline - world.now for name, replica in world.state.replicas.items()} == {
        name: pytest.approx(0.05) for name in ("r0", "r1")
    }
    assert len(world.state.drains) == 3
    while world.state.replicas:
        assert world.go_on()
    assert world.now < 1.0 + world.drain_s
    world.finish()
    assert fingerprint(world) == undisturbed()


def test_a_drain_of_an_earlier_life_changes_nothing() -> None:
    world = Watched(replicas=1)
    world.start()
    world.kill("r0")
    world.incarnation["r0"] = 1
    world.drain("r0", 0.0)
    world.incarnation["r0"] = 2
    assert world.state.replicas["r0"].drain is None


def test_a_replica_that_dies_while_it_drains_has_died() -> None:
    world = Watched(replicas=2, slots=4)
    world.start()
    world.step_until(8)
    world.drain("r0", FOREVER_S)
    world.kill("r0")
    assert world.ends == {LossKind.DIED: 1}
    assert world.state.pools[""].outcomes[Outcome.LOST] == 4
    assert world.state.replicas["r0"].drain is None
    world.finish()
    assert fingerprint(world) == undisturbed()


def test_suspects_wait_for_another_ward_where_theirs_drains() -> None:
    world = Watched(seed=5, replicas=3, slots=2, max_losses=3, drain_s=1.0)
    world.start()
    pool = world.state.pools[""]
    world.step_until(6)
    world.kill("r0")
    world.step_until(5)
    world.kill("r1")
    while pool.quarantine.ward is None:
        world.kill("r2")
        assert world.go_on()
    first = pool.quarantine.ward
    world.drain(first.replica_id, 0.1)
    assert pool.quarantine.ward is not first
    world.finish()
    assert fingerprint(world) == undisturbed()
