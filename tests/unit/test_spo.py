"""SPO's segment credit. First vector: computed by the reference."""

import pytest
from tests.support.credit import BINARY, RAGGED, close, credit_tree, estimate


def test_every_edge_has_its_change_of_value():
    paths = estimate("spo", BINARY)
    assert paths[0] == [0.25, -0.25, 0.5]
    assert paths[1] == [0.25, -0.25, -0.5]
    assert paths[2] == paths[3] == [0.25, 0.25, 0.0]
    assert paths[4] == paths[5] == [-0.25, -0.25, 0.0]
    assert paths[6] == [-0.25, 0.25, -0.5]
    assert paths[7] == [-0.25, 0.25, 0.5]


def test_values_are_means_over_children_not_over_leaves():
    # 11: .5; 1: (0 + .5) / 2; prompt: (1 + .25) / 2.
    assert estimate("spo", RAGGED) == [[0.375], [-0.375, -0.25], [-0.375, 0.25, 0.5], [-0.375, 0.25, -0.5]]


def test_division_by_the_deviation_of_siblings():
    assert estimate("spo", BINARY, scale="sibling_std")[0] == pytest.approx([1.0, -1.0, 1.0])
    assert estimate("spo", credit_tree(["0", "1", "2"], [1, 0, 0]), scale="sibling_std")[0] == close(
        (2 / 3) / (2 / 9) ** 0.5
    )


@pytest.mark.parametrize("scale", ["none", "sibling_std"])
def test_segments_between_forks_share_their_edges_credit(scale):
    split, whole = credit_tree(["0000", "0010", "1000"], [1, 0, 0]), credit_tree(["00", "01", "1"], [1, 0, 0])
    first, second = estimate("spo", whole, scale=scale)[0]
    assert estimate("spo", split, scale=scale)[0] == [first, first, second, second]


@pytest.mark.parametrize("scale", ["none", "sibling_std"])
def test_equal_leaves_and_a_single_leaf_have_no_credit(scale):
    assert estimate("spo", credit_tree(["00", "01", "1"], [0.1] * 3), scale=scale) == [[0.0, 0.0], [0.0, 0.0], [0.0]]
    assert estimate("spo", credit_tree(["000"], [1]), scale=scale) == [[0.0, 0.0, 0.0]]


def test_leaves_nobody_scored_take_no_part():
    assert estimate("spo", credit_tree(["00", "01", "1"], [1, None, 0])) == [[0.5, 0.5], [-0.5]]
