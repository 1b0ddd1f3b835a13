"""Value labels of ReST-MCTS*. First vector: computed by the reference."""

from tests.support.credit import RAGGED, close, credit_tree, estimate


def test_a_correct_chain_climbs_in_even_steps():
    assert estimate("rest_mcts", credit_tree(["000"], [1])) == [close(1 / 3, 2 / 3, 1)]


def test_a_step_off_the_way_falls_by_the_distance_that_was_left():
    # 1 is three nodes from the correct leaf 110; 10 leaves it where two were left besides 1.
    assert estimate("rest_mcts", RAGGED) == [
        close(1.0),
        close(1 / 3, 1 / 3 - 2 / 3 / 3),
        close(1 / 3, 2 / 3, 1.0),
        close(1 / 3, 2 / 3, 2 / 3 - 1 / 3 / 2),
    ]


def test_every_step_of_a_dead_end_falls_by_the_distance_of_the_last_live_node():
    found = estimate("rest_mcts", credit_tree(["00", "0111"], [1, 0]))
    assert found[1] == close(1 / 2, 1 / 2 - 1 / 4, 0.0, 0.0)


def test_the_nearest_correct_leaf_counts():
    assert estimate("rest_mcts", credit_tree(["00", "0111"], [1, 1]))[1] == close(1 / 2, 1 / 2 + 1 / 6, 5 / 6, 1.0)


def test_without_a_correct_leaf_all_labels_are_zero():
    assert estimate("rest_mcts", credit_tree(["00", "01", "1"], [0, 0.4, None])) == [[0.0, 0.0], [0.0, 0.0]]


def test_leaves_nobody_scored_lead_nowhere():
    assert estimate("rest_mcts", credit_tree(["0", "10"], [None, 1])) == [close(1 / 2, 1.0)]
