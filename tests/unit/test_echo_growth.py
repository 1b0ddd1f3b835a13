"""ECHO: where answers are cut, and how many more begin there."""

import math
from dataclasses import replace

import pytest
from tests.support.tokens import add_node, planted

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.branch.echo import ECHO, width
from treeroll.policy.base import Limits
from treeroll.tree.node import BranchReason, Decision, NodeStatus

LIMITS = Limits(leaves=8, segment_tokens=8, max_depth=4, max_tokens=32)
SHORT = {"answers": 1, "min_depth": 2, "entropy_window": 2, "group_window": 2}
UNSURE = [math.log(0.5)] * 6


def growth_of(tree, limits=LIMITS, **params):
    growth = registry.build("branch", "echo", {**SHORT, **params}, limits).grow(tree)
    growth.start(tree)
    return growth


def grown(entropies, logprobs=UNSURE, **params):
    """What the second wave of an answer of one segment is."""
    tree = planted()
    growth = growth_of(tree, **params)
    growth.on_node(tree, add_node(tree, 0, logprobs, entropies=entropies))
    return places(growth.on_idle(tree))


def places(expansions):
    return [(expansion.node, expansion.split_at, expansion.forks) for expansion in expansions]


def test_the_defaults_make_sixty_four_leaves():
    assert registry.build("branch", "echo", {}, Limits(64, 128, 56, 7168)).max_leaves == 64


def test_an_answer_is_cut_before_its_first_unsure_token_and_the_rest_begins_at_the_prompt():
    # 1 + 2 (3.5 - 1) / 2.5 - (0.5 - 0.6) / 0.6 = 3.17: two more. 8 leaves: one is there, so five are missing.
    assert grown([0.1, 0.1, 0.1, 3.5, 5.0, 0.1]) == [(1, 3, 2), (0, None, 5)]


@pytest.mark.parametrize(
    ("entropies", "changes"),
    [
        ([0.1, 3.5, 0.1, 0.1, 0.1, 0.1], {}),  # fewer than min_depth tokens before it
        ([0.1, 0.1, 0.1, 3.4, 0.1, 0.1], {}),  # entropy below the threshold
        ([3.4, 3.4, 3.5, 3.5, 3.5, 3.5], {}),  # entropy was high before
        ([0.1, 0.1, 0.1, 3.5, 0.1, 0.1], {"confidence": 0.4}),  # confident all the same
    ],
)
def test_each_part_of_the_test_must_hold(entropies, changes):
    assert grown(entropies, **changes) == [(0, None, 7)]


@pytest.mark.parametrize("windows", [{"entropy_window": 4}, {"group_window": 5}, {}])
def test_windows_may_be_partial_at_the_beginning_of_an_answer(windows):
    assert grown([0.1, 0.1, 0.1, 3.5, 5.0, 0.1], **windows) == [(1, 3, 2), (0, None, 5)]


def test_windows_and_depth_are_the_releases():
    params = ECHO.Params()
    assert (params.min_depth, params.entropy_window, params.group_window) == (4, 4, 4)
    # The first place there can be, with half of a window before it.
    assert grown([0.1] * 4 + [3.5], [math.log(0.5)] * 5, min_depth=4, entropy_window=8, group_window=8)[0][:2] == (1, 4)


def test_only_the_first_place_counts_even_if_its_width_is_one():
    sure = {"confidence": 1.0, "entropy": 1.0, "entropy_low": 3.0}
    assert grown([0.1, 0.1, 1.0, 0.1, 5.0, 0.1], **sure) == [(0, None, 7)]


def test_signals_reach_back_over_segments_and_a_first_token_follows_its_parent():
    tree = planted()
    growth = growth_of(tree)
    growth.on_node(tree, add_node(tree, 0, UNSURE[:2], entropies=[0.1, 0.1], status=NodeStatus.INNER))
    growth.on_node(tree, add_node(tree, 1, UNSURE[:2], entropies=[3.5, 0.1]))
    assert places(growth.on_idle(tree)) == [(1, None, 2), (0, None, 5)]


def test_the_second_wave_is_the_last_and_its_answers_are_not_cut():
    tree = planted()
    growth = growth_of(tree)
    growth.on_node(tree, add_node(tree, 0, UNSURE, entropies=[0.1, 0.1, 0.1, 3.5, 0.1, 0.1]))
    found = growth.on_idle(tree)
    assert [expansion.reason for expansion in found] == [BranchReason.FORK, BranchReason.FALLBACK]
    assert all(expansion.decision is Decision.RETROSPECTIVE for expansion in found)
    growth.on_node(tree, add_node(tree, 0, UNSURE, entropies=[0.1, 0.1, 0.1, 3.5, 0.1, 0.1], sibling=1))
    assert growth.on_idle(tree) == []


def test_answers_are_cut_in_path_order_whatever_came_first():
    def wave(order):
        tree = planted()
        growth = growth_of(tree, answers=2)
        for sibling, peak in order:
            entropies = [0.1] * 6
            entropies[peak] = 3.5
            growth.on_node(tree, add_node(tree, 0, UNSURE, entropies=entropies, sibling=sibling))
        return [(tree.path(expansion.node), expansion.split_at, expansion.forks) for expansion in growth.on_idle(tree)]

    assert wave([(0, 2), (1, 4)]) == wave([(1, 4), (0, 2)]) == [((0,), 2, 2), ((1,), 4, 2), ((), None, 2)]


def test_a_discarded_answer_is_not_cut_and_is_made_up_for():
    tree = planted()
    growth = growth_of(tree)
    inner = add_node(tree, 0, UNSURE, entropies=[0.1, 0.1, 0.1, 3.5, 0.1, 0.1], status=NodeStatus.INNER)
    growth.on_node(tree, inner)
    growth.on_node(tree, add_node(tree, 1, [-0.1], entropies=[0.1], status=NodeStatus.PRUNED))
    assert places(growth.on_idle(tree)) == [(0, None, 8)]


def test_an_answer_without_entropies_has_no_place():
    assert grown([]) == [(0, None, 7)]


@pytest.mark.parametrize(
    ("entropy", "confidence", "wide"),
    [(3.5, 0.6, 3), (3.5, 0.3, 4), (3.5, 0.0, 4), (1.0, 0.6, 1), (9.0, 0.6, 4), (2.25, 0.6, 2), (3.5, 1.2, 2)],
)
def test_width_grows_with_entropy_and_falls_with_confidence(entropy, confidence, wide):
    assert width(ECHO.Params(), entropy, confidence) == wide


def test_more_leaves_than_the_run_wants_are_refused():
    with pytest.raises(InvalidInput, match="answers 16 and max_width 4 can make 64 leaves, above leaves 63"):
        registry.build("branch", "echo", {}, replace(LIMITS, leaves=63))


def test_places_that_no_path_is_long_enough_for_are_refused():
    with pytest.raises(
        InvalidInput, match=r"min_depth 32 allows no place before token 33, above max_tokens 32; lower it"
    ):
        registry.build("branch", "echo", {**SHORT, "min_depth": 32}, LIMITS)
    registry.build("branch", "echo", {**SHORT, "min_depth": 31}, LIMITS)


def test_bounds_of_entropy_the_wrong_way_round_are_refused():
    with pytest.raises(InvalidInput, match=r"entropy_low 4 is not below entropy_high 3\.5; lower the one"):
        registry.build("branch", "echo", {"entropy_low": 4}, LIMITS)
