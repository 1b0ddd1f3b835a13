"""Weights that are published while trees grow, in a simulated world: no grant on other weights than those in force."""

import re

import pytest

from treeroll.core.model.live_tree import TreeStatus
from treeroll.core.model.run import StalenessBound
from treeroll.core.model.weights import OnUpdate, Phase
from treeroll.core.scheduling.prospects import held_up
from treeroll.simulation.world import World, fingerprint

UPDATES = range(1, 6)


def grow(world: World, every: int = 20, refusals: bool = False) -> World:
    """Publish every so many events, as often as there are UPDATES, with replicas that die, or refuse, in between."""
    world.start()
    versions, count = iter(UPDATES), 0
    while world.go_on():
        count += 1
        if count % every == 0 and world.state.pools[""].weights.publication is None and world.state.trees:
            if (version := next(versions, None)) is not None:
                world.publish(version)
                if refusals and version % 2:
                    world.weights.refusing.add(("r0", world.incarnation["r0"]))
        elif refusals and count % every == every // 2:
            world.weights.refusing.clear()
        if world.kill_share and world.random.random() < world.kill_share:
            world.kill(world.random.choice(sorted(world.incarnation)))
    return world


def phases(world: World) -> list[Phase]:
    return [publication.phase for publication in world.state.pools[""].weights.history]


@pytest.mark.parametrize("rule", [OnUpdate.CONTINUE, OnUpdate.RECOMPUTE, OnUpdate.FINISH_FIRST])
@pytest.mark.parametrize("kill_share", [0.0, 0.02])
def test_trees_are_the_same_whatever_is_published_meanwhile(rule: OnUpdate, kill_share: float) -> None:
    alone = World(seed=1, replicas=1, slots=64)
    alone.run()
    world = grow(World(seed=3, on_update=rule, kill_share=kill_share))
    assert fingerprint(world) == fingerprint(alone)
    assert set(phases(world)) == {Phase.DONE}
    weights = world.state.pools[""].weights
    assert weights.publication is None
    assert all(replica.weights.loaded.version == weights.current.version for replica in world.state.replicas.values())


@pytest.mark.parametrize("seed", range(6))
def test_a_refusal_or_a_death_at_any_point_leaves_one_version_and_every_task_ended(seed: int) -> None:
    world = grow(World(seed=seed, replicas=1 + seed % 3, kill_share=0.03), every=12, refusals=True)
    assert len(world.finished) == world.tasks
    assert all(live.status is TreeStatus.COMPLETE for live in world.finished.values())
    weights = world.state.pools[""].weights
    assert weights.publication is None
    assert weights.current.version == max(
        (one.weights.version for one in weights.history if one.phase is Phase.DONE), default=0
    )
    assert not world.state.pools[""].resting


def test_a_replica_that_cannot_load_weights_is_not_held_against_the_trees_that_grow_there() -> None:
    world = World(seed=3, replicas=1, max_losses=1)
    world.start()
    while not world.state.trees:
        world.go_on()
    world.publish(1)  # it is told to stage them, and will
    world.weights.refusing.add(("r0", 1))
    while world.incarnation["r0"] == 1:
        world.go_on()
    quarantine = world.state.pools[""].quarantine
    assert (quarantine.losses, quarantine.of) == ({}, {})
    while world.go_on():
        pass
    assert world.state.runs["run"].quarantined == []
    assert all(live.status is TreeStatus.COMPLETE for live in world.finished.values())


def test_a_run_whose_trees_finish_first_says_why_none_starts() -> None:
    world = World(seed=3, on_update=OnUpdate.FINISH_FIRST, tasks=40, slots=2)
    world.start()
    world.publish(1)
    weights, run = world.state.pools[""].weights, world.state.runs["run"]
    while weights.publication is not None and weights.publication.phase is Phase.STAGING:
        world.go_on()
    assert "wait until the trees that grow have ended" in held_up(world.state, run)
    while weights.publication is not None:
        world.go_on()
    assert held_up(world.state, run) == ""


def test_trees_of_a_run_that_finishes_first_are_each_of_one_version() -> None:
    world = grow(World(seed=3, on_update=OnUpdate.FINISH_FIRST, tasks=12, slots=2))
    assert len(set().union(*(versions.values() for versions in world.weights.made_by.values()))) > 1
    for tree_id, versions in world.weights.made_by.items():
        assert len(set(versions.values())) == 1, tree_id


def test_trees_of_a_run_that_stops_end_with_what_they_have_and_say_why() -> None:
    world = grow(World(seed=3, on_update=OnUpdate.STOP, tasks=12, slots=2))
    stale = [live for live in world.finished.values() if live.stop_reason == "stale"]
    assert stale
    for live in stale:
        assert live.status in (TreeStatus.PARTIAL, TreeStatus.FAILED)
        assert "came and the run's on_update is stop" in live.error
        assert len(set(world.weights.made_by.get(live.tree_id, {}).values())) <= 1
    assert world.state.runs["run"].counters.stale_trees == len(stale)
    assert len(world.finished) == world.tasks


@pytest.mark.parametrize("versions", [0, 1])
def test_trees_that_can_only_be_withheld_end_and_say_why(versions: int) -> None:
    world = grow(World(seed=3, tasks=12, slots=2, staleness=StalenessBound(versions)))
    stale = [live for live in world.finished.values() if live.stop_reason == "stale"]
    assert stale
    for live in stale:
        assert f"and max_staleness is {versions}" in live.error
        [came] = re.findall(r"weights version (\d+) came", live.error)
        assert min(world.weights.made_by[live.tree_id].values()) < int(came) - versions
    assert world.state.runs["run"].counters.stale_trees == len(stale)


@pytest.mark.parametrize(
    "bound", [None, StalenessBound(9), StalenessBound(0, by_newest=True), StalenessBound(0, withhold=False)]
)
def test_trees_that_may_be_delivered_go_on(bound: StalenessBound | None) -> None:
    world = grow(World(seed=3, tasks=12, slots=2, staleness=bound))
    assert all(live.status is TreeStatus.COMPLETE for live in world.finished.values())


def test_a_pool_takes_its_weights_and_others_keep_theirs() -> None:
    world = World(seed=5, pools={"small": 2, "large": 1})
    world.start()
    for _ in range(30):
        world.go_on()
    world.publish(4, "small")
    while world.go_on():
        pass
    assert world.state.pools["small"].weights.current.version == 4
    assert world.state.pools["large"].weights.current.version == 0
    assert len(world.finished) == 2 * world.tasks
