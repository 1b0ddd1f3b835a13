"""Group-relative credit."""

import math
import statistics

import pytest
from tests.support.credit import BINARY, close, credit_tree, leaf_values


def test_rewards_are_standardised_over_the_leaves_of_the_tree():
    rewards = [1, 0, 1, 1, 0, 0, 0, 1]
    std = statistics.stdev(rewards)
    assert leaf_values("grpo", BINARY) == pytest.approx([(reward - 0.5) / (std + 1e-6) for reward in rewards])


def test_leaves_nobody_scored_take_no_part():
    assert leaf_values("grpo", credit_tree(["00", "01", "1"], [1, None, 0])) == close(math.sqrt(0.5), -math.sqrt(0.5))


@pytest.mark.parametrize("rewards", [[0.1] * 3, [0.1, None, None]])
def test_without_contrast_credit_is_exactly_zero(rewards):
    assert set(leaf_values("grpo", credit_tree(["0", "1", "2"], rewards))) == {0.0}


def test_dr_grpo_does_not_divide():
    assert leaf_values("grpo", BINARY, scale="none") == [0.5, -0.5, 0.5, 0.5, -0.5, -0.5, -0.5, 0.5]


@pytest.mark.parametrize("epsilon", [1e-6, 1e-4])
def test_epsilon_is_verls_or_trls(epsilon):
    # Rewards so close that epsilon shows: 0 and 1e-4, deviation 7.07e-5.
    tree = credit_tree(["0", "1"], [0.0, 1e-4])
    gap = 0.5e-4 / (1e-4 / math.sqrt(2) + epsilon)
    assert leaf_values("grpo", tree, epsilon=epsilon) == pytest.approx([-gap, gap])
