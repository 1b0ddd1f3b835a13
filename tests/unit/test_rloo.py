"""Leave-one-out credit."""

import pytest
from tests.support.credit import BINARY, RAGGED, close, credit_tree, leaf_values


def test_every_leaf_is_compared_with_the_mean_of_the_others():
    assert leaf_values("rloo", BINARY) == close(4 / 7, -4 / 7, 4 / 7, 4 / 7, -4 / 7, -4 / 7, -4 / 7, 4 / 7)
    assert leaf_values("rloo", RAGGED) == close(2 / 3, -2 / 3, 2 / 3, -2 / 3)


def test_leaves_nobody_scored_take_no_part():
    assert leaf_values("rloo", credit_tree(["00", "01", "1"], [3, None, 1])) == [2.0, -2.0]


@pytest.mark.parametrize("rewards", [[0.1] * 3, [0.1, None, None]])
def test_without_contrast_credit_is_exactly_zero(rewards):
    assert set(leaf_values("rloo", credit_tree(["0", "1", "2"], rewards))) == {0.0}
