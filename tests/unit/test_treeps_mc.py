"""Monte-Carlo process credit."""

from tests.support.credit import BINARY, RAGGED, close, credit_tree, estimate


def test_every_node_against_its_parent():
    assert estimate("treeps_mc", BINARY)[0] == [0.25, -0.25, 0.5]
    assert estimate("treeps_mc", BINARY)[2] == [0.25, 0.25, 0.0]


def test_values_are_means_over_leaves_not_over_children():
    # Prompt: 1/2; 1: 1/3; 11: 1/2.
    assert estimate("treeps_mc", RAGGED) == [
        close(1 / 2),
        close(-1 / 6, -1 / 3),
        close(-1 / 6, 1 / 6, 1 / 2),
        close(-1 / 6, 1 / 6, -1 / 2),
    ]


def test_against_the_prompt_and_both():
    assert estimate("treeps_mc", RAGGED, against="prompt")[2] == close(-1 / 6, 0, 1 / 2)
    assert estimate("treeps_mc", RAGGED, against="both")[2] == close(-1 / 3, 1 / 6, 1)


def test_segments_between_forks_share_their_edges_credit():
    assert estimate("treeps_mc", credit_tree(["000", "100"], [1, 0])) == [[0.5] * 3, [-0.5] * 3]


def test_a_single_leaf_and_leaves_nobody_scored():
    assert estimate("treeps_mc", credit_tree(["000"], [1]), against="both") == [[0.0, 0.0, 0.0]]
    assert estimate("treeps_mc", credit_tree(["00", "01", "1"], [1, None, 0])) == [[0.5, 0.5], [-0.5]]
