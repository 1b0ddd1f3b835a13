"""TreePO fallback as pure functions: who, where, how many."""

from collections import Counter

import pytest

from treeroll.policies.branch.treepo_fallback import Leaf, SegmentStats, in_order, plan_round, segments_kept
from treeroll.policies.branch.treepo_params import TreePOParams
from treeroll.policy.base import Limits
from treeroll.tree.node import StopReason

LIMITS = Limits(leaves=16, segment_tokens=10, max_depth=6, max_tokens=60)


def leaf(path="0", reason=StopReason.EOS, depth=4, tokens=None, means=None, mins=None):
    means = means or [-1.0] * depth
    mins = mins or means
    segments = tuple(SegmentStats(mean, low) for mean, low in zip(means, mins, strict=True))
    return Leaf(path, reason, 10 * depth if tokens is None else tokens, segments)


ONE_OF_EACH = [
    leaf("0", StopReason.REPETITION),
    leaf("1", StopReason.EOS),
    leaf("2", StopReason.ANSWER),
    leaf("3", StopReason.DEPTH),
    leaf("4", StopReason.LENGTH),
    leaf("5", StopReason.ANSWER, depth=1),
]


def order(leaves, seed=1, number=1, **params):
    return [chosen.path for chosen in in_order(TreePOParams(**params), LIMITS, leaves, seed, number)]


def kept(of, seed=1, number=1, limits=LIMITS, **params):
    return segments_kept(TreePOParams(**params), limits, of, seed, number)


def test_strict_order_is_highest_priority_first_and_then_by_path():
    assert order(ONE_OF_EACH, leaf_order="finished_first_strict") == ["2", "5", "1", "3", "4", "0"]


def test_finished_first_prefers_priority_but_only_by_weight():
    first = Counter(order(ONE_OF_EACH[:2], seed=seed)[0] for seed in range(2000))
    assert first["1"] / 2000 == pytest.approx(5 / 7, abs=0.03)  # EOS 5 against repetition 2


def test_longer_first_weighs_length():
    pair = [leaf("0", depth=1), leaf("1", depth=4)]
    first = Counter(order(pair, seed=seed, leaf_order="longer_first")[0] for seed in range(2000))
    assert first["1"] / 2000 == pytest.approx(40 / 50, abs=0.03)


def test_random_orders_change_with_the_round_and_not_with_anything_else():
    everyone = {"0", "1", "2", "3", "4", "5"}
    draws = {tuple(order(ONE_OF_EACH, number=number, leaf_order="random_all")) for number in range(20)}
    assert len(draws) > 10
    assert all(set(draw) == everyone for draw in draws)
    assert order(ONE_OF_EACH, leaf_order="random_all") == order(ONE_OF_EACH[::-1], leaf_order="random_all")


def test_filters_keep_the_reasons_they_name():
    assert set(order(ONE_OF_EACH, leaf_order="soft_boxed_and_eos")) == {"1", "2", "5"}
    assert set(order(ONE_OF_EACH, leaf_order="boxed_ge_window")) == {"2", "5"}
    assert order(ONE_OF_EACH, leaf_order="boxed_ge_window", boxed_min_windows=2) == ["2"]


def test_random_cuts_drop_between_one_and_all_windows():
    assert Counter(kept(leaf(), seed=seed) for seed in range(400)).keys() == {0, 1, 2, 3}
    assert {kept(leaf(), seed=seed, max_window=2) for seed in range(100)} == {2, 3}
    assert {kept(leaf(), seed=seed, max_window=9) for seed in range(100)} == {0, 1, 2, 3}


def test_windows_are_whole_segments_rounded_up():
    assert {kept(leaf(), seed=seed, window_tokens=15) for seed in range(100)} == {0, 2}
    assert {kept(leaf(depth=5), seed=seed, window_tokens=20) for seed in range(100)} == {0, 2, 4}


def test_a_leaf_shorter_than_a_window_restarts_at_the_prompt():
    assert {kept(leaf(tokens=29), seed=seed, window_tokens=30) for seed in range(50)} == {0}
    assert kept(leaf(tokens=5, depth=1), fallback="min_logprob") == 0


def test_min_logprob_cuts_before_the_segment_of_the_least_likely_token():
    assert kept(leaf(mins=[-1.0, -2.0, -9.0, -3.0]), fallback="min_logprob") == 2
    assert kept(leaf(mins=[-1.0, -9.0, -9.0, -3.0]), fallback="min_logprob") == 1  # the earlier of equals


def test_block_cuts_follow_the_mean_logprob():
    steep = leaf(means=[0.0, 0.0, -50.0, 0.0])
    assert {kept(steep, seed=seed, fallback="block") for seed in range(50)} == {2}
    assert {kept(steep, seed=seed, fallback="inverse_block") for seed in range(50)} == {0, 1, 3}


def test_a_cut_leaves_room_for_a_segment():
    shallow = Limits(leaves=16, segment_tokens=10, max_depth=3, max_tokens=60)
    assert kept(leaf(mins=[-1.0, -1.0, -1.0, -9.0]), limits=shallow, fallback="min_logprob") == 2


def plan(leaves, missing, b=2, **params):
    rounds = plan_round(TreePOParams(**params), LIMITS, leaves, missing, b, seed=1, number=1)
    return [(restart.leaf.path if restart.leaf else None, restart.keep, restart.forks) for restart in rounds]


def test_leaves_get_up_to_b_forks_each_until_nothing_is_missing():
    found = plan(ONE_OF_EACH, 5, leaf_order="finished_first_strict")
    assert [(path, forks) for path, _, forks in found] == [("2", 2), ("5", 2), ("1", 1)]
    assert len(plan(ONE_OF_EACH, 100)) == 6  # one walk; what is still missing comes by forks, or in the next round


def test_no_eligible_leaf_restarts_one_batch_at_the_prompt():
    assert plan([], 5) == [(None, 0, 2)]
    assert plan([leaf(reason=StopReason.LENGTH)], 1, leaf_order="soft_boxed_and_eos") == [(None, 0, 1)]


def test_from_start_is_one_batch_per_round():
    assert plan(ONE_OF_EACH, 5, fallback="from_start") == [(None, 0, 2)]
