"""Growth by what a judge says of unfinished paths: nobody decides before it has spoken, and nobody waits for more."""

import math

import pytest

from treeroll.core.model.events import PathJudged, RunCancelled
from treeroll.core.model.live_tree import LiveTree, TreeStatus
from treeroll.core.step import step
from treeroll.simulation.world import World, fingerprint
from treeroll.tree.node import NodeStatus
from treeroll.tree.tree import Tree

RECIPES = ("rebase", "dora", "ets", "bavt", "uct", "cost_band", "depth_first")


def world(recipe: str = "rebase", value: str = "judge", **settings: object) -> World:
    overrides: dict[str, dict[str, object]] = {"branch": {"value": value}}
    return World(recipe=recipe, leaves=8, overrides=overrides, **{"end_share": 0.0, **settings})


def held(live: LiveTree) -> list[int]:
    """Nodes where a path was held."""
    return [node.number for node in live.tree.nodes[1:] if node.status is NodeStatus.INNER]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_held_path_is_judged_once_whatever_the_fleet_and_its_losses(recipe: str) -> None:
    fleets = [{"replicas": 1, "slots": 64}, {"seed": 2, "replicas": 3, "slots": 2, "kill_share": 0.02}]
    worlds = [world(recipe, **fleet) for fleet in fleets]
    for grown in worlds:
        for live in grown.run().values():
            assert live.status is TreeStatus.COMPLETE
            assert sorted(live.tree.values) == held(live)
            assert live.judging == 0
    assert fingerprint(worlds[0]) == fingerprint(worlds[1])


def test_growth_follows_the_judge() -> None:
    def mean(live: LiveTree, tree: Tree) -> float:
        known = [
            value for leaf in tree.leaves for node in tree.lineage(leaf) if (value := tree.values.get(node.number))
        ]
        return math.fsum(known) / len(known)

    judged = [mean(live, live.tree) for live in world(tasks=20).run().values()]
    grown = world(value="confidence", tasks=20)
    for live in grown.run().values():
        live.tree.values = {number: grown.value(live, number) for number in held(live)}
    blind = [mean(live, live.tree) for live in grown.finished.values()]
    assert math.fsum(judged) / len(judged) > math.fsum(blind) / len(blind) + 0.05


def until_judged(grown: World) -> LiveTree:
    """Nothing runs, and the policy has not been asked: all paths are with the judge."""
    grown.start()
    [live] = grown.state.trees.values()
    while live.active or not live.judging:
        grown.go_on()
    return live


def test_a_tree_that_only_waits_for_its_judge_goes_on_when_it_has_spoken() -> None:
    grown = world(tasks=1, slots=64)
    live = until_judged(grown)
    assert not live.grown
    nodes = held(live)
    for number in sorted(set(nodes) - set(live.tree.values)):
        step(grown.state, PathJudged(live.tree_id, number, 0.5), grown.now)
    assert live.active == 8


def test_a_judge_that_fails_or_says_no_share_is_an_error_and_its_value_unknown() -> None:
    for said, error in ((None, "it hung"), (1.5, ""), (-0.1, ""), (math.nan, "")):
        grown = world(tasks=1, slots=64)
        live = until_judged(grown)
        [number, *_] = sorted(set(held(live)) - set(live.tree.values))
        before = live.run.counters.reward_errors
        [effect, *_] = step(grown.state, PathJudged(live.tree_id, number, said, error), grown.now)
        assert live.tree.values[number] is None
        assert live.run.counters.reward_errors == before + 1
        assert error in effect.error
        assert effect.error


def test_a_cancelled_tree_does_not_wait_for_its_judge() -> None:
    grown = world(tasks=1, slots=64)
    live = until_judged(grown)
    step(grown.state, RunCancelled("run"), grown.now)
    assert live.tree_id not in grown.state.trees
    assert step(grown.state, PathJudged(live.tree_id, 1, 0.5), grown.now) == []


def test_a_second_word_of_the_judge_changes_nothing() -> None:
    grown = world(tasks=1, slots=64)
    live = until_judged(grown)
    [number, *_] = live.tree.values or [held(live)[0]]
    step(grown.state, PathJudged(live.tree_id, number, 0.5), grown.now)
    known, judging = dict(live.tree.values), live.judging
    assert step(grown.state, PathJudged(live.tree_id, number, 0.9), grown.now) == []
    assert (live.tree.values, live.judging) == (known, judging)
