"""Credit of sibling-standardised values."""

from tests.support.credit import BINARY, RAGGED, close, credit_tree, estimate


def test_standardised_values_against_the_parents():
    # Values: .75 | .25 at depth 1, .5 1 | 0 .5 at depth 2; two siblings that differ are +1 and -1.
    assert estimate("segpo", BINARY) == [
        [1.0, -2.0, 2.0],
        [1.0, -2.0, 0.0],
        [1.0, 0.0, -1.0],
        [1.0, 0.0, -1.0],
        [-1.0, 0.0, 1.0],
        [-1.0, 0.0, 1.0],
        [-1.0, 2.0, -2.0],
        [-1.0, 2.0, 0.0],
    ]


def test_ragged_paths():
    # Values 1 | .25, then 0 | .5, then 1 | 0.
    assert estimate("segpo", RAGGED) == [[1.0], [-1.0, 0.0], [-1.0, 2.0, 0.0], [-1.0, 2.0, -2.0]]


def test_an_only_child_has_the_credit_of_its_edge():
    assert estimate("segpo", credit_tree(["000", "100"], [1, 0])) == [[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]]


def test_credit_below_an_only_child_is_against_its_standardised_value():
    tree = credit_tree(["000", "001", "1"], [1, 0, 0])
    assert estimate("segpo", tree)[0] == close(1.0, 1.0, 0.0)


def test_equal_siblings_and_a_single_leaf_have_no_credit():
    assert estimate("segpo", credit_tree(["00", "01"], [0.1, 0.1])) == [[0.0, 0.0]] * 2
    assert estimate("segpo", credit_tree(["000"], [1])) == [[0.0, 0.0, 0.0]]
