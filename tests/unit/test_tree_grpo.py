"""Tree-GRPO's credit. Vector: computed by the reference from the release."""

import math

from tests.support.credit import close, credit_tree, leaf_values

# Two trees of four leaves each.
TWO = credit_tree([f"{tree}{leaf}" for tree in range(2) for leaf in range(4)], [1, 0, 1, 1, 0, 0, 0, 1])
INTER = 0.5 / math.sqrt(8 * 0.25 / 7)  # of a reward of 1 over all leaves: .9354


def test_both_norms_are_added():
    expected = close(1.4354, -2.4354, 1.4354, 1.4354, -1.4354, -1.4354, -1.4354, 2.4354)
    assert leaf_values("tree_grpo", TWO) == expected


def test_the_norm_within_the_tree_alone():
    assert leaf_values("tree_grpo", TWO, terms="intra") == close(0.5, -1.5, 0.5, 0.5, -0.5, -0.5, -0.5, 1.5)


def test_one_norm_on_top_of_the_other():
    # Norms ignore scale and offset, so this is the norm within the tree but for epsilon.
    assert leaf_values("tree_grpo", TWO, terms="nested") == close(0.5, -1.5, 0.5, 0.5, -0.5, -0.5, -0.5, 1.5)


def test_trees_are_told_apart_by_the_first_node_of_a_path():
    deep = credit_tree(["000", "001", "01", "1"], [1, 0, 0, 0])
    assert leaf_values("tree_grpo", deep, terms="intra")[:3] == close(2 / math.sqrt(3), *[-1 / math.sqrt(3)] * 2)


def test_a_chain_drawn_at_the_prompt_counts_to_the_tree_it_was_drawn_for():
    # The same two trees, grown otherwise: one leaf of the first and two of the second begin at the prompt.
    drawn = credit_tree(
        ["00", "01", "2", "02", "10", "3", "11", "4"], [1, 0, 1, 1, 0, 0, 0, 1], groups=[1, 1, 1, 1, 2, 2, 2, 2]
    )
    expected = close(1.4354, -2.4354, 1.4354, 1.4354, -1.4354, -1.4354, -1.4354, 2.4354)
    assert leaf_values("tree_grpo", drawn) == expected
    assert leaf_values("tree_grpo", drawn, terms="intra") == close(0.5, -1.5, 0.5, 0.5, -0.5, -0.5, -0.5, 1.5)


def test_leaves_without_a_label_are_told_apart_by_the_first_node_beside_those_with_one():
    mixed = credit_tree(["00", "01", "10", "11"], [1, 0, 1, 0], groups=[1, 0, 1, 0])
    assert leaf_values("tree_grpo", mixed, terms="intra") == [0.0] * 4


def test_a_leaf_alone_in_its_tree_has_the_tasks_norm_only():
    assert leaf_values("tree_grpo", credit_tree(["0", "1"], [1, 0])) == close(math.sqrt(0.5), -math.sqrt(0.5))
    assert leaf_values("tree_grpo", credit_tree(["00"], [1])) == [0.0]


def test_leaves_nobody_scored_take_no_part():
    partial = credit_tree(["00", "01", "02", "1"], [1, None, 0, 0])
    assert leaf_values("tree_grpo", partial) == leaf_values("tree_grpo", credit_tree(["00", "02", "1"], [1, 0, 0]))
