"""HBPO's credit."""

import math

import pytest
from tests.support.credit import close, leaf_values

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import CreditTree, Limits

PAPER = {"max_length": 4096}
# 4 cos(pi x / 8192) at budgets whose angles are 11.25, 22.5 and 45 degrees.
F512, F1024, F2048 = 3.92314, 3.69552, 2.82843


def flat_tree(*leaves):
    """A leaf per (tokens, budget or 0, reward)."""
    numbered = list(enumerate(leaves, 1))
    return CreditTree(
        paths={number: (number,) for number, _ in numbered},
        rewards={number: reward for number, (_, _, reward) in numbered if reward is not None},
        n_tokens={0: 5, **{number: tokens for number, (tokens, _, _) in numbered}},
        groups={number: budget for number, (_, budget, _) in numbered if budget},
    )


def normed(*rewards):
    """GRPO's norm."""
    mean = sum(rewards) / len(rewards)
    std = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / (len(rewards) - 1))
    return [(reward - mean) / std for reward in rewards]


def test_a_worked_example():
    # R: 3.92314, within its budget; 3.69552 - 512/4096 = 3.57052, 512 tokens above it; 2.82843; 0, wrong.
    # Mean 2.58052, deviation 1.77982. Means of the budgets against their best: 3.74683 - 3.92314 and 1.41421 - 2.82843.
    tree = flat_tree((500, 512, 1), (1024, 512, 1), (2048, 2048, 1), (1000, 2048, 0))
    assert leaf_values("hbpo", tree, **PAPER) == close(0.5780, 0.3799, -1.2749, -2.8641)


def test_right_answers_within_one_budget_have_no_credit_and_wrong_ones_miss_all_of_it():
    assert leaf_values("hbpo", flat_tree((500, 512, 1), (510, 512, 1)), **PAPER) == [0.0, 0.0]
    assert leaf_values("hbpo", flat_tree((500, 512, 0), (900, 512, 0)), **PAPER) == close(-F512, -F512)
    assert leaf_values("hbpo", flat_tree((9, 2048, 0)), **PAPER) == close(-F2048)


def test_a_short_right_answer_is_worth_more_under_a_small_budget():
    small, large = leaf_values("hbpo", flat_tree((500, 512, 1), (500, 2048, 1)), **PAPER)
    assert [small, large] == close(math.sqrt(0.5), -math.sqrt(0.5))


def test_a_long_right_answer_is_worth_more_under_a_large_budget():
    # 2.82843 - 1536/4096 under 512, and under 2048 all of it; the first misses what 512 could have brought.
    short, long = F2048 - 0.375, F2048
    assert leaf_values("hbpo", flat_tree((2048, 512, 1), (2048, 2048, 1)), **PAPER) == close(
        -math.sqrt(0.5) + short - F512, math.sqrt(0.5) + long - F2048
    )


def test_an_answer_far_below_a_small_budget_is_worth_less_than_the_budget():
    # 4 cos(pi 64 / 8192) - 448/4096 = 3.99880 - 0.10938, less than 3.92314.
    far, at, _ = leaf_values("hbpo", flat_tree((64, 512, 1), (512, 512, 1), (64, 512, 0)), **PAPER)
    n_far, n_at, _ = normed(3.88942, F512, 0)
    missed = (3.88942 + F512) / 3 - F512
    assert [far, at] == close(n_far + missed, n_at + missed)


def test_an_answer_longer_than_the_longest_length_is_worth_nothing():
    tree = flat_tree((101, 90, 1), (100, 90, 0))
    assert leaf_values("hbpo", tree) == close(*[-4 * math.cos(math.pi * 0.45)] * 2)


def test_the_longest_length_is_the_runs_unless_set():
    tree = flat_tree((20, 25, 1), (40, 25, 1), (10, 50, 0))
    assert leaf_values("hbpo", tree) == leaf_values("hbpo", tree, max_length=100)
    assert leaf_values("hbpo", tree) != leaf_values("hbpo", tree, max_length=200)


def test_scale_and_deviation():
    # At half of the longest length, a budget of none of it: scale cos(45 degrees) - deviation / 2, almost.
    one, _ = leaf_values("hbpo", flat_tree((50, 0, 1), (50, 0, 0)), scale=1.0)
    assert one == pytest.approx(math.sqrt(0.5), abs=1e-4)
    missed = leaf_values("hbpo", flat_tree((50, 25, 1)), scale=2.0, deviation=0.4)
    assert missed == close(2 * math.sqrt(0.5) - 0.4 * 0.25 - 2 * math.cos(math.pi / 8))


def test_leaves_that_were_told_no_budget_have_only_the_norm():
    tree = flat_tree((1024, 0, 1), (2048, 0, 1), (512, 0, 0))
    assert leaf_values("hbpo", tree, **PAPER) == close(*normed(F1024, F2048, 0))


def test_right_is_a_threshold():
    tree, signed = flat_tree((30, 40, 1), (60, 40, 0)), flat_tree((30, 40, 3), (60, 40, -1))
    assert leaf_values("hbpo", signed, success=0.0) == leaf_values("hbpo", tree)


def test_leaves_nobody_scored_take_no_part():
    partial = flat_tree((30, 40, 1), (60, 40, None), (60, 80, 0))
    assert leaf_values("hbpo", partial) == leaf_values("hbpo", flat_tree((30, 40, 1), (60, 80, 0)))


def test_a_longest_length_below_what_paths_may_have_is_refused():
    with pytest.raises(InvalidInput, match="max_length 99 is below max_tokens 100, so longer paths"):
        registry.build("advantage", "hbpo", {"max_length": 99}, Limits(8, 10, 4, 100))
