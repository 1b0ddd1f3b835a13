"""TreePO's credit, before whitening."""

import statistics

import pytest
from tests.support.credit import BINARY, RAGGED, close, credit_tree, leaf_values


def test_average():
    assert leaf_values("treepo", BINARY) == close(0.4167, -0.5833, 0.25, 0.25, -0.25, -0.25, -0.4167, 0.5833)


def test_group_size():
    expected = close(0.4286, -0.5714, 0.3571, 0.3571, -0.3571, -0.3571, -0.4286, 0.5714)
    assert leaf_values("treepo", BINARY, aggregate="group_size") == expected


def test_dropping_zero_variance_groups():
    expected = close(0.4167, -0.5833, 0.375, 0.375, -0.375, -0.375, -0.4167, 0.5833)
    assert leaf_values("treepo", BINARY, drop_zero_variance_groups=True) == expected


def test_ragged_paths():
    assert leaf_values("treepo", RAGGED) == close(0.5, -0.4167, 0.5556, -0.4444)


def test_without_the_root_group_a_lone_path_has_no_credit():
    assert leaf_values("treepo", RAGGED, include_root=False) == close(
        0, -1 / 3, (2 / 3 + 1 / 2) / 2, (-1 / 3 - 1 / 2) / 2
    )


def test_scaling_by_the_deviation_of_the_paths_terms():
    # Leaf 0 of BINARY: terms .5, .25, .5
    terms = [0.5, 0.25, 0.5]
    assert leaf_values("treepo", BINARY, scale="path_std")[0] == pytest.approx(
        statistics.mean(terms) / statistics.pstdev(terms)
    )
    assert leaf_values("treepo", RAGGED, scale="path_std")[0] == pytest.approx(0.5)  # a single term: not scaled


def test_scaling_by_the_deviation_of_the_trees_terms():
    terms = [0.5, -0.5, 0.5, -0.5, -1 / 3, 2 / 3, -1 / 3, 0.5, -0.5]
    assert leaf_values("treepo", RAGGED, scale="tree_std")[0] == pytest.approx(0.5 / statistics.pstdev(terms))


@pytest.mark.parametrize("scale", ["none", "path_std", "tree_std"])
def test_equal_rewards_give_no_credit(scale):
    tree = credit_tree(["00", "01", "1"], [0.1, 0.1, 0.1])
    assert leaf_values("treepo", tree, scale=scale, drop_zero_variance_groups=True) == [0, 0, 0]
    assert leaf_values("treepo", tree, scale=scale) == [0, 0, 0]


def test_rounding_noise_is_not_scaled_up():
    # Both groups of the first leaf have mean 0.1 but for rounding, so its terms agree.
    noisy = credit_tree(["00", "01", "02", "1"], [0.3, -0.1, 0.1, 0.1])
    assert abs(leaf_values("treepo", noisy, scale="path_std")[0]) < 1


def test_leaves_nobody_scored_take_no_part():
    partial = credit_tree(["00", "01", "10", "11"], [1, None, 0, None])
    assert leaf_values("treepo", partial) == close(0.5, -0.5)  # each is alone in its group, only the root group counts


def test_chains_count_once_per_node_as_published():
    # Both leaves share two nodes: the group counts for each of them.
    assert leaf_values("treepo", credit_tree(["000", "001", "1"], [1, 0, 0])) == close(
        (2 / 3 + 0.5 + 0.5) / 3, (-1 / 3 - 0.5 - 0.5) / 3, -1 / 3
    )
