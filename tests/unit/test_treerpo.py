"""TreeRPO's sibling-relative credit."""

import math

import pytest
from tests.support.credit import BINARY, RAGGED, close, credit_tree, estimate


def test_every_node_is_standardised_among_its_siblings():
    assert estimate("treerpo", BINARY) == [
        [1.0, -1.0, 1.0],
        [1.0, -1.0, -1.0],
        [1.0, 1.0, 0.0],
        [1.0, 1.0, 0.0],
        [-1.0, -1.0, 0.0],
        [-1.0, -1.0, 0.0],
        [-1.0, 1.0, -1.0],
        [-1.0, 1.0, 1.0],
    ]


def test_ragged_paths():
    assert estimate("treerpo", RAGGED) == [[1.0], [-1.0, -1.0], [-1.0, 1.0, 1.0], [-1.0, 1.0, -1.0]]


def test_without_division():
    assert estimate("treerpo", BINARY, scale="none")[0] == [0.25, -0.25, 0.5]


def test_groups_of_little_contrast_are_left_out():
    # A ninth of a tree of nine solves it: deviation of the three parents' values 1/3, 0, 0 is .157.
    tree = credit_tree([f"{i}{j}" for i in range(3) for j in range(3)], [1] + [0] * 8)
    spread = math.sqrt(2 / 81)
    assert estimate("treerpo", tree)[0] == close(2 / 9 / spread, 2 / 3 / math.sqrt(2 / 9))
    assert estimate("treerpo", tree, smallest_spread=0.16)[0] == close(0.0, 2 / 3 / math.sqrt(2 / 9))


def test_segments_between_forks_share_their_edges_credit():
    assert estimate("treerpo", credit_tree(["000", "0010", "1"], [1, 0, 0])) == [
        [1.0, 1.0, 1.0],
        [1.0, 1.0, -1.0, -1.0],
        [-1.0],
    ]


@pytest.mark.parametrize("scale", ["none", "std"])
def test_equal_leaves_and_a_single_leaf_have_no_credit(scale):
    assert estimate("treerpo", credit_tree(["00", "01", "1"], [0.1] * 3), scale=scale) == [[0.0, 0.0]] * 2 + [[0.0]]
    assert estimate("treerpo", credit_tree(["000"], [1]), scale=scale) == [[0.0, 0.0, 0.0]]
