"""Trees that a run's filters find are dropped when they end: one terminal event each, counted by filter."""

from dataclasses import replace
from typing import Any

import pytest

from treeroll.core.model.delivery import DeliveryRules
from treeroll.core.model.live_tree import LiveTree, TreeStatus
from treeroll.simulation.world import World
from treeroll.tree.node import StopReason
from treeroll.tree.rng import hash64, uniform


class Mixed(World):
    """Rewards differ from tree to tree, too."""

    def _reward(self, live: LiveTree, node: int) -> float | None:
        draw = uniform(hash64(live.tree_id, node), "reward")
        return None if draw >= 0.95 else float(draw < 0.5)


def grown(rules: DeliveryRules) -> World:
    world = Mixed(seed=4, tasks=30, leaves=3, max_depth=3, end_share=0.005, recipe="flat")
    world.spec = replace(world.spec, delivery=rules)
    world.run()
    return world


def dropped(world: World) -> dict[str, str]:
    return {name: live.dropped_by for name, live in world.finished.items() if live.status is TreeStatus.FILTERED}


def rewards(live: LiveTree) -> list[float]:
    return [reward for reward in live.tree.rewards.values() if reward is not None]


def truncated(live: LiveTree) -> bool:
    return {live.tree.nodes[leaf].stop_reason for leaf in live.tree.leaves} <= {StopReason.LENGTH, StopReason.DEPTH}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (DeliveryRules(drop=frozenset(["zero_advantage"])), lambda live: len(set(rewards(live))) < 2),
        (DeliveryRules(drop=frozenset(["truncated"])), truncated),
        (DeliveryRules(min_scored=3), lambda live: len(rewards(live)) < 3),
    ],
    ids=["zero_advantage", "truncated", "min_scored"],
)
def test_exactly_the_trees_that_a_filter_means_are_dropped_and_counted(rules: DeliveryRules, expected: Any) -> None:
    world = grown(rules)
    (name,) = rules.drop or ["min_scored"]
    wanted = {tree_id for tree_id, live in world.finished.items() if expected(live)}
    assert 0 < len(wanted) < 30
    assert dropped(world) == dict.fromkeys(wanted, name)
    run = world.state.runs["run"]
    assert run.filtered == {name: len(wanted)}
    assert (run.finished, run.failed, run.fed) == (30 - len(wanted), 0, 30)
    for tree_id in wanted:
        assert world.finished[tree_id].error.startswith(f"dropped by {name}: ")


def test_several_filters_count_each_tree_once() -> None:
    world = grown(DeliveryRules(min_scored=3, drop=frozenset(["zero_advantage", "truncated"])))
    run = world.state.runs["run"]
    assert len(run.filtered) == 3
    assert run.finished + run.filtered.total() == 30
    for live in world.finished.values():
        if live.status is not TreeStatus.FILTERED:
            assert any(any(credit.advantages) for credit in live.credit)
            assert len(rewards(live)) == 3
            assert not truncated(live)


def test_what_is_dropped_grows_as_it_would_have() -> None:
    plain, filtered = grown(DeliveryRules()), grown(DeliveryRules(drop=frozenset(["zero_advantage"])))
    assert {name: len(live.tree.nodes) for name, live in plain.finished.items()} == {
        name: len(live.tree.nodes) for name, live in filtered.finished.items()
    }
