"""Path weights and values of finished trees."""

import pytest

from treeroll.core.credit import TreeShape, credit_leaves, path_weights
from treeroll.policies.base import CreditTree


class Echo:
    """An estimator that returns the reward on every path node."""

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        return {leaf: (reward,) * len(tree.paths[leaf]) for leaf, reward in tree.rewards.items()}


def shape(parents: list[int], leaves: list[int], retrospective: tuple[int, ...] = ()) -> TreeShape:
    return TreeShape(parents, [i in retrospective for i in range(len(parents))], [4] * len(parents), leaves)


def test_a_path_weighs_one_over_the_boundary_children_at_every_fork() -> None:
    # Root with children 1 and 2; 1 forks into 3, 4, 5; 2 runs on to 6.
    weights = path_weights(shape([0, 0, 0, 1, 1, 1, 2], [3, 4, 5, 6]))
    assert weights == {3: pytest.approx(1 / 6), 4: pytest.approx(1 / 6), 5: pytest.approx(1 / 6), 6: 0.5}


def test_retrospective_branches_weigh_nothing_and_take_nothing_from_their_siblings() -> None:
    # 4 was started under 1 after its continuation 3 had finished; 5 forks below it.
    weights = path_weights(shape([0, 0, 0, 1, 1, 4], [2, 3, 5], retrospective=(4,)))
    assert weights == {2: 0.5, 3: 0.5, 5: 0.0}


def test_weights_of_a_tree_without_fallback_sum_to_one() -> None:
    weights = path_weights(shape([0, 0, 0, 1, 1, 2, 2, 2], [3, 4, 5, 6, 7]))
    assert sum(weights.values()) == pytest.approx(1.0)


def test_leaves_without_a_reward_get_a_weight_but_no_advantage() -> None:
    credits = credit_leaves(shape([0, 0, 0], [1, 2]), {2: 1.0}, Echo())
    assert [(c.leaf, c.path_weight, c.advantages) for c in credits] == [(1, 0.5, ()), (2, 0.5, (1.0,))]
