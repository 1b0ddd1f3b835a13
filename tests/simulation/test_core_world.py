"""The core in a simulated world: every invariant after every step, and trees that do not depend on time or place."""

import pytest

from treeroll.core.model.live_tree import TreeStatus
from treeroll.simulation.world import PROMPT_TOKENS, World, fingerprint
from treeroll.tree.node import NodeStatus, StopReason

# Tokens 2 to 6 end a segment, one token in ten; so does "9 1", which straddles two tokens or ends one.
DELIMITED: dict[str, object] = {"name": "delimiter", "texts": ["9 1"], "token_ids": [2, 3, 4, 5, 6]}
SYNCS = ({"branch": {"sync": "level"}}, {"branch": {"sync": "path"}})


@pytest.mark.parametrize("overrides", SYNCS)
@pytest.mark.parametrize("segment", [{}, {"hold": True}, DELIMITED, {**DELIMITED, "hold": True}], ids=str)
def test_trees_are_the_same_whatever_the_fleet_the_order_and_the_losses(
    overrides: dict[str, dict[str, object]], segment: dict[str, object]
) -> None:
    choice = {**overrides, "segment": segment}
    alone = World(seed=1, replicas=1, slots=64, overrides=choice)
    alone.run()
    for world in (
        World(seed=2, replicas=3, slots=2, overrides=choice),
        World(seed=3, replicas=2, slots=3, overrides=choice, placement="round_robin"),
        World(seed=4, replicas=3, slots=4, overrides=choice, kill_share=0.02),
    ):
        world.run()
        assert fingerprint(world) == fingerprint(alone)


REWARDED: dict[str, dict[str, dict[str, object]]] = {
    "ib_tpo": {"branch": {"initial": 3, "rounds": 6, "nodes": 1}},
    "deepsearch": {"branch": {"width": 2, "terminals": 4}},
    "rest_mcts": {"branch": {"width": 2, "iterations": 6, "successes": 4}},
    "mars2": {"branch": {"models": ["", "large"], "parallel": 2}},
}


@pytest.mark.parametrize("recipe", REWARDED)
def test_trees_that_grow_by_rewards_are_the_same_too(recipe: str) -> None:
    alone = World(seed=1, replicas=1, slots=64, recipe=recipe, overrides=REWARDED[recipe])
    trees = alone.run()
    assert all(live.status is TreeStatus.COMPLETE for live in trees.values())
    for world in (
        World(seed=2, replicas=3, slots=2, recipe=recipe, overrides=REWARDED[recipe]),
        World(seed=4, replicas=3, slots=4, recipe=recipe, overrides=REWARDED[recipe], kill_share=0.02),
    ):
        world.run()
        assert fingerprint(world) == fingerprint(alone)


def test_delimited_segments_end_where_their_content_says_and_their_paths_at_the_longest_total() -> None:
    world = World(seed=1, overrides={"segment": DELIMITED})
    lengths = set()
    for live in world.run().values():
        for node in live.tree.nodes[1:]:
            stored = world.stored[live.tree_id][node.number]
            lengths.add(len(stored.tokens))
            if node.status is NodeStatus.INNER:
                assert stored.tokens[-1] in range(2, 7) or "9 1" in stored.text
                assert node.depth < world.max_depth
            elif node.stop_reason is not StopReason.EOS:
                assert node.total == PROMPT_TOKENS + world.spec.max_tokens
    assert len(lengths) > 10


@pytest.mark.parametrize("hold", [False, True])
def test_delimited_trees_of_a_policy_that_cuts_segments_are_the_same_too(hold: bool) -> None:
    alone = World(seed=1, replicas=1, slots=64, recipe="treerl", leaves=30, overrides={"segment": DELIMITED})
    assert all(live.tree.splits for live in alone.run().values())
    held: dict[str, dict[str, object]] = {"segment": {**DELIMITED, "hold": hold}}
    other = World(seed=4, replicas=3, slots=4, recipe="treerl", leaves=30, overrides=held, kill_share=0.02)
    other.run()
    assert other.state.runs["run"].counters.regrants
    assert fingerprint(other) == fingerprint(alone)


# Both within what the world's probabilities (0.55 to 1) and entropies (0 to 1.2) can be.
UNSURE: dict[str, dict[str, object]] = {
    "branch": {
        "answers": 4, "min_depth": 3, "entropy": 1.0, "entropy_high": 1.2, "entropy_window": 4,
        "confidence": 0.9, "group_window": 4,
    },
    "prune": {"group_window": 8, "min_confidence": 0.64, "tail_window": 4, "decline_confidence": 0.6, "spike_steps": 4},
}  # fmt: skip


def test_trees_cut_and_ended_where_the_model_is_unsure_are_the_same_too() -> None:
    alone = World(seed=1, replicas=1, slots=64, recipe="echo", leaves=16, overrides=UNSURE)
    trees = alone.run().values()
    assert all(len(live.tree.leaves) == 16 for live in trees)
    assert any(live.tree.splits for live in trees)
    reasons = {node.stop_reason for live in trees for node in live.tree.nodes}
    assert {StopReason.LOW_CONFIDENCE, StopReason.TAIL_DECLINE, StopReason.ENTROPY_SPIKE, StopReason.EOS} <= reasons
    other = World(seed=4, replicas=3, slots=4, recipe="echo", leaves=16, overrides=UNSURE, kill_share=0.02)
    other.run()
    assert other.state.runs["run"].counters.regrants
    assert fingerprint(other) == fingerprint(alone)


@pytest.mark.parametrize("recipe", ["flat", "treepo"])
def test_every_complete_tree_has_the_leaves_it_was_asked_for(recipe: str) -> None:
    world = World(recipe=recipe, end_share=0.02)
    trees = world.run()
    assert len(trees) == world.tasks
    for live in trees.values():
        assert live.status is TreeStatus.COMPLETE
        assert len(live.tree.leaves) == world.leaves


def test_all_tokens_are_accounted_for_when_nothing_runs_any_more() -> None:
    world = World(seed=9, kill_share=0.03)
    trees = world.run()
    run = world.state.runs["run"]
    assert run.ledger.outstanding == 0
    assert run.ledger.balanced()
    assert run.ledger.spent == sum(live.ledger.spent for live in trees.values())
    nodes = sum(node.n_tokens for live in trees.values() for node in live.tree.nodes[1:])
    assert run.ledger.spent >= nodes
    assert not world.state.grants
    assert run.counters.regrants > 0


@pytest.mark.parametrize("budget", [1, 500, 3000])
def test_a_budget_is_never_overrun_and_cut_trees_say_so(budget: int) -> None:
    world = World(budget_tokens=budget)
    trees = world.run()
    run = world.state.runs["run"]
    assert run.ledger.spent <= budget
    assert len(trees) == world.tasks
    for live in trees.values():
        if live.status is not TreeStatus.COMPLETE:
            assert "budget" in live.error


def test_trees_that_are_alone_whenever_replicas_die_are_quarantined() -> None:
    world = World(kill_share=0.5, max_losses=2, tasks=2)
    trees = world.run()
    assert len(trees) == 2
    assert all(live.status in (TreeStatus.PARTIAL, TreeStatus.FAILED) for live in trees.values())
    assert all("is quarantined" in live.error for live in trees.values())


@pytest.mark.parametrize("seed", range(30))
def test_random_worlds_end_with_every_task_finished_once(seed: int) -> None:
    world = World(
        seed=seed,
        replicas=1 + seed % 3,
        slots=1 + seed % 5,
        end_share=(0.003, 0.02, 0.1)[seed % 3],
        kill_share=(0.0, 0.01)[seed % 2],
        overrides=SYNCS[seed % 2],
    )
    trees = world.run()
    assert len(trees) == world.tasks
    assert not world.state.trees


@pytest.mark.parametrize(("value", "read"), [("steps", True), ("confidence", False)])
@pytest.mark.parametrize("segment", [{"hold": True}, {"name": "agent_step"}], ids=str)
def test_nodes_have_their_text_only_where_the_growth_reads_it(
    value: str, read: bool, segment: dict[str, object]
) -> None:
    world = World(recipe="rebase", overrides={"segment": segment, "branch": {"value": value}}, tasks=1)
    (live,) = world.run().values()
    for node in live.tree.nodes[1:]:
        assert node.text == (world.stored[live.tree_id][node.number].text if read else None)
    leaf = live.tree.leaves[0]
    parts = [world.stored[live.tree_id][node.number].text for node in live.tree.lineage(leaf)]
    assert live.tree.completion_text(leaf) == ("".join(parts) if read else "")
