"""DeepSearch's credit."""

from math import tanh

import pytest
from tests.support.credit import BINARY, close, credit_tree, estimate


def test_correct_outcomes_are_summed_with_decay_and_overwrite_wrong_ones():
    # Node 0 of BINARY: three correct leaves at half the depth, 00: one at three quarters. Leaves: mean 0, deviation 1.
    paths = estimate("deepsearch", BINARY)
    assert paths[0] == close(tanh(3 / 2), tanh(3 / 4), 1)
    assert paths[1] == close(tanh(3 / 2), tanh(3 / 4), -1)
    assert paths[4] == close(tanh(1 / 2), tanh(-3 / 2), -1)


@pytest.mark.parametrize(("scale", "std"), [("none", 1.0), ("std", 0.75**0.5)])
def test_values_are_relative_to_the_leaves(scale, std):
    tree = credit_tree(["0", "10", "110", "111"], [1, 0, 0, 0])
    mean = -0.5
    one, eleven = tanh(-(2 / 3 + 1 / 2 + 1 / 2)), tanh(-3 / 2)
    assert estimate("deepsearch", tree, scale=scale) == [
        close((1 - mean) / std),
        close((one - mean) / std, (-1 - mean) / std),
        close((one - mean) / std, (eleven - mean) / std, (-1 - mean) / std),
        close((one - mean) / std, (eleven - mean) / std, (-1 - mean) / std),
    ]


def test_credit_is_the_releases_whose_scripts_do_not_divide():
    # Computed by the release's rule: a node with two children, one of them right, beside a wrong answer.
    tree = credit_tree(["00", "01", "1"], [1, 0, 0])
    assert estimate("deepsearch", tree) == [close(0.916116, 1.333333), close(0.916116, -0.666667), close(-0.666667)]
    divided = [close(0.971687, 1.414212), close(0.971687, -0.707106), close(-0.707106)]
    assert estimate("deepsearch", tree, scale="std") == divided


def test_outcomes_fade_no_further_than_the_smallest_share():
    path = estimate("deepsearch", credit_tree(["0" * 3, "1"], [1, 0]), smallest_share=0.9)[0]
    assert path == close(tanh(0.9), tanh(0.9), 1)


def test_temperature_and_ceiling():
    assert estimate("deepsearch", BINARY, temperature=3.0, ceiling=2.0)[0] == close(2 * tanh(0.5), 2 * tanh(0.25), 1)


@pytest.mark.parametrize("rewards", [[1, 1, 1], [0, 0, 0], [0, None, None]])
def test_leaves_that_agree_have_no_credit(rewards):
    tree = credit_tree(["00", "01", "1"], rewards)
    assert {value for path in estimate("deepsearch", tree) for value in path} == {0.0}


def test_success_is_a_threshold():
    signed = credit_tree([f"{i:03b}" for i in range(8)], [3, -1, 3, 3, -1, -1, -1, 3])
    assert estimate("deepsearch", signed, success=0.0) == estimate("deepsearch", BINARY)
