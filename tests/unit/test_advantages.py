"""Credit from leaf rewards. Vectors: reference/tree_rl.md 1.9, before whitening."""

import math
import statistics

import pytest

from treeroll.policies import registry
from treeroll.policies.base import CreditTree, Limits

LIMITS = Limits(8, 10, 4, 100)


def credit(paths, rewards):
    """A tree from paths given as names; equal prefixes are the same nodes."""
    numbers = {}
    for path in paths:
        for end in range(1, len(path) + 1):
            numbers.setdefault(path[:end], len(numbers) + 1)
    named = {numbers[path]: tuple(numbers[path[:end]] for end in range(1, len(path) + 1)) for path in paths}
    scored = {numbers[path]: reward for path, reward in zip(paths, rewards, strict=True) if reward is not None}
    return CreditTree(named, scored, dict.fromkeys((0, *numbers.values()), 10))


BINARY = credit([f"{i:03b}" for i in range(8)], [1, 0, 1, 1, 0, 0, 0, 1])
RAGGED = credit(["0", "10", "110", "111"], [1, 0, 1, 0])


def values(tree, name="treepo", **params):
    """One value per leaf in path order, after checking that every path node has it."""
    found = registry.build("advantage", name, params, LIMITS).estimate(tree)
    assert found.keys() == tree.rewards.keys()
    for leaf, advantages in found.items():
        assert len(advantages) == len(tree.paths[leaf])
        assert len(set(advantages)) <= 1
    return [found[leaf][0] for leaf in tree.paths if leaf in found]


def close(*expected):
    return pytest.approx(expected, abs=1e-3)


def test_average():
    assert values(BINARY) == close(0.4167, -0.5833, 0.25, 0.25, -0.25, -0.25, -0.4167, 0.5833)


def test_group_size():
    expected = close(0.4286, -0.5714, 0.3571, 0.3571, -0.3571, -0.3571, -0.4286, 0.5714)
    assert values(BINARY, aggregate="group_size") == expected


def test_dropping_zero_variance_groups():
    expected = close(0.4167, -0.5833, 0.375, 0.375, -0.375, -0.375, -0.4167, 0.5833)
    assert values(BINARY, drop_zero_variance_groups=True) == expected


def test_ragged_paths():
    assert values(RAGGED) == close(0.5, -0.4167, 0.5556, -0.4444)


def test_without_the_root_group_a_lone_path_has_no_credit():
    assert values(RAGGED, include_root=False) == close(0, -1 / 3, (2 / 3 + 1 / 2) / 2, (-1 / 3 - 1 / 2) / 2)


def test_scaling_by_the_deviation_of_the_paths_terms():
    # Leaf 0 of BINARY: terms .5, .25, .5
    terms = [0.5, 0.25, 0.5]
    assert values(BINARY, scale="path_std")[0] == pytest.approx(statistics.mean(terms) / statistics.pstdev(terms))
    assert values(RAGGED, scale="path_std")[0] == pytest.approx(0.5)  # a single term: not scaled


def test_scaling_by_the_deviation_of_the_trees_terms():
    terms = [0.5, -0.5, 0.5, -0.5, -1 / 3, 2 / 3, -1 / 3, 0.5, -0.5]
    assert values(RAGGED, scale="tree_std")[0] == pytest.approx(0.5 / statistics.pstdev(terms))


@pytest.mark.parametrize("scale", ["none", "path_std", "tree_std"])
def test_equal_rewards_give_no_credit(scale):
    tree = credit(["00", "01", "1"], [0.1, 0.1, 0.1])
    assert values(tree, scale=scale, drop_zero_variance_groups=True) == [0, 0, 0]
    assert values(tree, scale=scale) == [0, 0, 0]


def test_rounding_noise_is_not_scaled_up():
    # Both groups of the first leaf have mean 0.1 but for rounding, so its terms agree.
    noisy = credit(["00", "01", "02", "1"], [0.3, -0.1, 0.1, 0.1])
    assert abs(values(noisy, scale="path_std")[0]) < 1


def test_leaves_nobody_scored_take_no_part():
    partial = credit(["00", "01", "10", "11"], [1, None, 0, None])
    assert values(partial) == close(0.5, -0.5)  # each is alone in its group, only the root group counts
    assert values(partial, "grpo") == close(math.sqrt(0.5), -math.sqrt(0.5))


def test_chains_count_once_per_node_as_published():
    # Both leaves share two nodes: the group counts for each of them.
    assert values(credit(["000", "001", "1"], [1, 0, 0])) == close(
        (2 / 3 + 0.5 + 0.5) / 3, (-1 / 3 - 0.5 - 0.5) / 3, -1 / 3
    )


def test_grpo():
    rewards = [1, 0, 1, 1, 0, 0, 0, 1]
    std = statistics.stdev(rewards)
    assert values(BINARY, "grpo") == pytest.approx([(reward - 0.5) / (std + 1e-6) for reward in rewards])


@pytest.mark.parametrize("rewards", [[0.1] * 3, [0.1, None, None]])
def test_grpo_without_contrast_is_exactly_zero(rewards):
    assert set(values(credit(["0", "1", "2"], rewards), "grpo")) == {0.0}


@pytest.mark.parametrize("name", ["grpo", "treepo"])
def test_a_tree_without_rewards_has_no_advantages(name):
    assert values(credit(["0", "1"], [None, None]), name) == []
