"""TreePO's arithmetic over counts and log probabilities: budgets and splits."""

import math

import pytest

from treeroll.policies.branch import treepo_budget as budget
from treeroll.policies.branch.treepo_params import TreePOParams
from treeroll.policies.branch.treepo_split import PathStats, split, temperature


@pytest.mark.parametrize(
    ("upper", "finished", "ended_now", "b", "active", "expected"),
    [
        (16, 0, 0, 2, 2, 4),
        (16, 0, 0, 2, 4, 8),
        (16, 0, 0, 2, 8, 16),
        (16, 0, 0, 2, 16, 16),  # the width is full: one continuation each
        (16, 1, 1, 2, 1, 4),  # a slot freed at this step goes to the live path
        (16, 1, 0, 2, 1, 2),  # freed earlier: it does not
        (16, 3, 3, 2, 13, 13),
        (16, 12, 1, 2, 3, 4),  # rem 4 is the bound
        (16, 15, 1, 2, 3, 3),  # rem 1, but every live path goes on
        (4, 9, 0, 2, 3, 3),  # a token cap below what is finished
        (16, 0, 0, 1, 3, 3),
        (16, 0, 0, 8, 3, 16),
    ],
)
def test_total_div(upper, finished, ended_now, b, active, expected):
    assert budget.total_div(upper, finished, ended_now, b, active) == expected


def test_initial_divergence_is_b_or_a_draw_capped_by_the_width():
    assert budget.initial_divergence(TreePOParams(branching=2), 16, seed=1) == 2
    assert budget.initial_divergence(TreePOParams(branching=8), 4, seed=1) == 4
    wide = TreePOParams(initial="random", initial_max=8)
    assert {budget.initial_divergence(wide, 16, seed) for seed in range(200)} == set(range(2, 9))
    assert {budget.initial_divergence(wide, 4, seed) for seed in range(200)} == {2, 3, 4}
    assert {budget.initial_divergence(TreePOParams(branching=4, initial="random"), 2, seed) for seed in range(9)} == {2}


def test_random_branching_is_redrawn_by_key():
    params = TreePOParams(divergence="by_random_div", random_div_min=1, random_div_max=3)
    draws = [budget.branching(params, 5, "step", step) for step in range(100)]
    assert set(draws) == {1, 2, 3}
    assert draws == [budget.branching(params, 5, "step", step) for step in range(100)]


@pytest.mark.parametrize(
    ("cap", "finished", "tokens", "active_mean", "min_width", "expected"),
    [
        (1000, 0, 0, 150, 1, 4),  # floor(1000 / (150 + 100))
        (1000, 2, 400, 150, 1, 4),  # 2 + floor(600 / 250)
        (1000, 2, 1200, 150, 1, 2),
        (1000, 0, 0, 900, 3, 3),  # lifted to min_width
        (100_000, 0, 0, 150, 1, 16),  # never above the width
    ],
)
def test_token_upper(cap, finished, tokens, active_mean, min_width, expected):
    use = budget.TokenUse(finished, tokens)
    assert budget.token_upper(cap, use, active_mean, 100, min_width, 16) == expected


def paths(*logprobs, tokens=10):
    return [PathStats(logprob, tokens, logprob, tokens) for logprob in logprobs]


def test_fixed_avg_gives_the_remainder_to_the_last_path():
    assert split("fixed_avg", 7, paths(-1, -2, -3), tau=1) == [2, 2, 3]
    assert split("fixed_avg", 11, paths(-1, -2, -3), tau=1) == [3, 3, 5]
    assert split("fixed_avg", 3, paths(-1, -2, -3), tau=1) == [1, 1, 1]


def test_weighted_splits_are_one_each_and_the_rest_by_softmax():
    three_to_one = paths(0.0, -math.log(3))
    assert split("logprob_weighted", 6, three_to_one, tau=1) == [2, 4]  # the less likely path gets more
    assert split("inverse_logprob_weighted", 6, three_to_one, tau=1) == [4, 2]
    assert split("logprob_weighted", 6, three_to_one, tau=1000) == [3, 3]
    assert split("logprob_weighted", 2, three_to_one, tau=1) == [1, 1]


def test_scores_are_sums_means_or_the_last_segments_means():
    long_and_likely = PathStats(logprob=-40, tokens=400, segment_logprob=-30, segment_tokens=10)
    short_and_unlikely = PathStats(logprob=-20, tokens=20, segment_logprob=-10, segment_tokens=10)
    both = [long_and_likely, short_and_unlikely]
    assert split("logprob_weighted", 10, both, tau=0.1) == [9, 1]  # -40 < -20
    assert split("norm_logprob_weighted", 10, both, tau=0.1) == [1, 9]  # -0.1 > -1
    assert split("node_logprob_weighted", 10, both, tau=0.1) == [9, 1]  # -3 < -1
    assert split("node_inverse_logprob_weighted", 10, both, tau=0.1) == [1, 9]
    assert split("norm_inverse_logprob_weighted", 10, both, tau=0.1) == [9, 1]


def test_infinite_logprobs_do_not_break_a_split():
    assert split("logprob_weighted", 5, paths(-math.inf, -1), tau=1) == [4, 1]
    assert split("inverse_logprob_weighted", 5, paths(-math.inf, -1), tau=1) == [1, 4]


@pytest.mark.parametrize(
    ("schedule", "progress", "tau"),
    [
        ("ascending", 0.0, 0.5), ("ascending", 0.5, 5.25), ("ascending", 1.0, 10.0),
        ("descending", 0.0, 10.0), ("descending", 0.5, 5.25), ("descending", 1.0, 0.5),
        ("none", 0.7, 2.0),
    ],
)  # fmt: skip
def test_temperature_follows_half_a_sine(schedule, progress, tau):
    params = TreePOParams(tau=2.0, tau_schedule=schedule, progress=progress, split="logprob_weighted")
    assert temperature(params) == pytest.approx(tau)
