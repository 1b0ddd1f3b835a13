"""Levels with a timeout: a straggler holds up nobody, and a wait that ended by itself wakes nobody up."""

import pytest

from treeroll.core.model.events import AlarmRang, RunCancelled
from treeroll.core.model.live_tree import TreeStatus
from treeroll.core.step import alarm, step
from treeroll.simulation.world import World
from treeroll.tree.node import Decision

LEAVES, SEEDS = 8, range(10)


def world(timeout_s: float | None, seed: int = 0, recipe: str = "rebase", **settings: object) -> World:
    """Room for every path: nobody waits for a slot."""
    settings = {"tasks": 4, **settings}
    overrides: dict[str, dict[str, object]] = {"branch": {"timeout_s": timeout_s, "value": "steps"}}
    return World(seed, 2, 64, recipe=recipe, leaves=LEAVES, overrides=overrides, **settings)


def grown_by(timeout_s: float | None, seed: int) -> float:
    """When the last of four trees ended, on the world's clock."""
    grown = world(timeout_s, seed)
    assert {live.status for live in grown.run().values()} == {TreeStatus.COMPLETE}
    return grown.now


def test_trees_end_earlier_when_levels_do_not_wait_for_their_last_path() -> None:
    # A segment takes 1 s on average, and the last of eight 2.7 s.
    assert sum(grown_by(0.5, seed) for seed in SEEDS) < 0.8 * sum(grown_by(None, seed) for seed in SEEDS)


@pytest.mark.parametrize("recipe", ["rebase", "dora", "ets"])
@pytest.mark.parametrize("timeout_s", [0.001, 0.3, 3.0])
def test_no_timeout_loses_a_path_or_makes_more_than_wanted(recipe: str, timeout_s: float) -> None:
    for seed in SEEDS:
        for live in world(timeout_s, seed, recipe, end_share=0.02, kill_share=0.01).run().values():
            assert live.status is TreeStatus.COMPLETE
            assert len(live.tree.leaves) + len(live.tree.pruned) <= LEAVES
            assert live.tree.leaves
            decided = {node.decision for node in live.tree.nodes if node.depth > 1}
            assert decided <= {Decision.RETROSPECTIVE}


def test_a_wait_that_nobody_ends_is_decided_when_its_time_is_over_and_not_before() -> None:
    grown = world(5.0, tasks=1, end_share=0.0)
    grown.start()
    [live] = grown.state.trees.values()
    assert alarm(grown.state) is None
    while not live.held:
        grown.go_on()
    [held] = live.held
    assert alarm(grown.state) == pytest.approx(grown.now + 5.0)
    assert live.active == LEAVES - 1
    now = grown.now
    step(grown.state, AlarmRang(), now + 4.9)
    assert held in live.held
    step(grown.state, AlarmRang(), now + 5.1)
    assert held not in live.held
    assert live.active == LEAVES


def test_a_cancelled_tree_is_not_asked_when_its_time_is_over() -> None:
    grown = world(5.0, tasks=1)
    grown.start()
    [live] = grown.state.trees.values()
    while not live.held:
        grown.go_on()
    step(grown.state, RunCancelled("run"), grown.now)
    started = live.started
    step(grown.state, AlarmRang(), grown.now + 10)
    assert live.started == started
    assert alarm(grown.state) is None
