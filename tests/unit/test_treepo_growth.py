"""TreePO and flat trees grown on scripted worlds."""

import pytest
from tests.support.grow import INNER, Driver, Outcome, discarded, endless, leaf, newest_first

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.tree.node import BranchReason, StopReason


def grow(world, leaves=16, depth=6, kind="treepo", hold=False, pick=newest_first(), **params):  # noqa: B008
    limits = Limits(leaves=leaves, segment_tokens=10, max_depth=depth, max_tokens=1000)
    policy = registry.build("branch", kind, params, limits)
    assert policy.max_leaves == leaves
    return Driver(policy, world, pick=pick, hold=hold).run()


def widths(grown, depth):
    return [grown.width_at(k) for k in range(1, depth + 1)]


@pytest.mark.parametrize("sync", ["level", "path"])
@pytest.mark.parametrize("hold", [False, True])
def test_live_paths_double_until_the_width(sync, hold):
    grown = grow(endless(6), sync=sync, hold=hold)
    assert widths(grown, 6) == [2, 4, 8, 16, 16, 16]
    assert len(grown.tree.leaves) == 16
    assert grown.idles == 1


@pytest.mark.parametrize(("b", "expected"), [(1, [1, 1, 1, 1]), (3, [3, 9, 10, 10]), (16, [10, 10, 10, 10])])
def test_branching_sets_the_pace(b, expected):
    assert widths(grow(endless(4), leaves=10, branching=b, fallback="none"), 4) == expected


def test_slots_of_paths_that_end_go_to_the_live_ones_at_that_step():
    def world(path):
        return leaf() if path == (1,) else endless(6)(path)

    assert widths(grow(world), 6) == [2, 4, 8, 15, 15, 15]


def test_a_split_waits_for_its_step_but_nobody_waits_for_the_split():
    grown = grow(endless(4))
    # One path ran to its end before its sibling's first segment came, and the forks still start at every boundary.
    assert grown.tree.path(4) == (1, 0, 0, 0)
    assert all(grown.tree.nodes[n].fanout == 2 for n in (1, 2, 3))


def test_path_sync_shares_a_quota_and_never_looks_aside():
    def world(path):
        return leaf() if path == (1,) else endless(6)(path)

    grown = grow(world, sync="path", fallback="none")
    assert widths(grown, 6) == [2, 2, 4, 8, 8, 8]  # 8 leaves below path 0; the other 8 were path 1's


def test_unused_quota_is_spent_by_fallback():
    def world(path):
        return leaf() if path == (1,) else endless(6)(path)

    grown = grow(world, sync="path")
    assert len(grown.tree.leaves) == 16
    assert any(node.branch_reason is BranchReason.FALLBACK for node in grown.tree.nodes)


def test_repetition_leaves_fill_the_width_and_discarded_ones_do_not():
    assert len(grow(lambda path: leaf(StopReason.REPETITION), leaves=4).tree.leaves) == 4
    grown = grow(lambda path: discarded() if path == (0,) else leaf(), leaves=4)
    assert len(grown.tree.leaves) == 4
    assert len(grown.tree.pruned) == 1


@pytest.mark.parametrize("sync", ["level", "path"])
@pytest.mark.parametrize(("max_rounds", "started"), [(0, 2), (3, 8), (8, 18)])
def test_discards_cannot_go_on_for_ever(sync, max_rounds, started):
    grown = grow(lambda path: discarded(), sync=sync, max_rounds=max_rounds)
    assert grown.tree.leaves == []
    assert grown.width_at(1) == started  # two at first, then two per round


def test_a_fallback_round_from_the_prompt_forks_like_a_new_tree():
    grown = grow(endless(3), depth=3, fallback="from_start")
    assert len(grown.tree.leaves) == 16
    below = [name for name in grown.leaves() if name.startswith(("2", "3"))]
    assert len(below) == 8
    assert [grown.width_at(k) for k in (1, 2, 3)] == [4, 8, 16]


def test_the_step_counter_goes_on_through_rounds():
    def world(path):
        # The first tree's least likely tokens: in segment 3 below path 0, in segment 2 below path 1.
        unlikely = len(path) == (3 if path[0] == 0 else 2)
        low = -9.0 if unlikely else -1.0
        return leaf(StopReason.DEPTH, logprob_min=low) if len(path) == 4 else Outcome(logprob_min=low)

    grown = grow(world, leaves=64, depth=4, fallback="min_logprob", leaf_order="finished_first_strict")
    # 16 leaves after step 4; two branches each are cut to depth 2 and to depth 1. All 32 are at step 5 after their
    # first segment, whatever their depth, so one split shares the 48 missing leaves: the remainder goes to the last.
    step_5 = next(batch for batch in grown.batches if len(batch) == 32)
    assert {grown.tree.nodes[expansion.node].depth for expansion in step_5} == {2, 3}
    assert [expansion.forks for expansion in step_5] == [0] * 31 + [16]
    assert len(grown.tree.leaves) == 64


def test_forks_below_a_fallback_branch_are_boundary_decisions():
    grown = grow(endless(3), depth=3, fallback="from_start")
    fork = next(node for node in grown.tree.nodes if grown.tree.path(node.number) == (2, 1))
    assert (fork.branch_reason, fork.decision) == ("fork", "boundary")
    assert grown.tree.nodes[fork.parent].decision == "retrospective"


def test_weighted_forks_go_where_the_score_says():
    def world(path):
        if len(path) == 3:
            return leaf()
        return INNER if path[0] == 0 else Outcome(logprob_sum=-100.0)

    likely = grow(world, leaves=4, depth=3, branching=2, split="inverse_logprob_weighted", tau=0.1)
    unlikely = grow(world, leaves=4, depth=3, branching=2, split="logprob_weighted", tau=0.1)
    assert [name[0] for name in likely.leaves()] == ["0", "0", "0", "1"]
    assert [name[0] for name in unlikely.leaves()] == ["0", "1", "1", "1"]


def test_a_token_cap_bounds_the_width():
    capped = {"total_budget": "by_response_token", "token_cap": 100}
    # Depth 3, 10 tokens per segment. Step 1: floor(100 / 20) = 5 -> 4 paths; step 2: floor(100 / 30) = 3 -> still 4.
    assert widths(grow(endless(3), depth=3, fallback="none", **capped), 3) == [2, 4, 4]
    assert len(grow(endless(3), depth=3, **capped).tree.leaves) == 4
    assert len(grow(endless(3), depth=3, **capped, min_width=9).tree.leaves) == 9


def test_initial_divergence_may_be_drawn_per_tree():
    grown = grow(endless(3), initial="random", initial_min=5, initial_max=5)
    assert widths(grown, 3) == [5, 10, 16]


@pytest.mark.parametrize("setting", ["min_width", "initial_min"])
def test_settings_above_the_width_are_refused(setting):
    params = {setting: 9, "initial": "random", "initial_max": 12}
    with pytest.raises(InvalidInput, match=f"{setting} 9 is above leaves 4"):
        registry.build("branch", "treepo", params, Limits(4, 10, 4, 100))


@pytest.mark.parametrize("hold", [False, True])
def test_flat_is_leaves_branches_and_nothing_else(hold):
    grown = grow(lambda path: discarded() if path == (3,) else endless(3)(path), leaves=5, kind="flat", hold=hold)
    assert widths(grown, 3) == [5, 4, 4]
    assert grown.leaves() == ["0.0.0", "1.0.0", "2.0.0", "4.0.0"]
    assert grown.idles == 1
