"""Path weights and values of finished trees."""

import math

import pytest

from treeroll.core.growth.credit import TreeShape, credit_leaves, path_weights
from treeroll.errors import InvalidInput
from treeroll.policy.base import CreditTree


class Echo:
    """An estimator that returns the reward on every path node, and keeps what it saw."""

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        self.seen = tree
        return {leaf: (reward,) * len(tree.paths[leaf]) for leaf, reward in tree.rewards.items()}


def shape(
    parents: list[int], leaves: list[int], retrospective: tuple[int, ...] = (), groups: list[int] | None = None
) -> TreeShape:
    numbers = range(len(parents))
    return TreeShape(
        parents,
        [i in retrospective for i in numbers],
        [4] * len(parents),
        [-0.5 * i for i in numbers],
        leaves,
        groups or [0] * len(parents),
    )


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


def test_estimators_see_rewards_of_inner_nodes_apart_and_figures_of_every_node() -> None:
    estimator = Echo()
    credits = credit_leaves(shape([0, 0, 0, 1], [2, 3]), {1: 0.25, 3: 1.0}, estimator)
    assert [credit.advantages for credit in credits] == [(), (1.0, 1.0)]
    assert estimator.seen.rewards == {3: 1.0}
    assert estimator.seen.inner_rewards == {1: 0.25}
    assert estimator.seen.n_tokens == dict.fromkeys(range(4), 4)
    assert estimator.seen.logprob_sums == {0: 0.0, 1: -0.5, 2: -1.0, 3: -1.5}


def test_estimators_see_the_labels_of_leaves_and_of_nothing_else() -> None:
    estimator = Echo()
    credit_leaves(shape([0, 0, 0, 1, 0], [2, 3, 4], groups=[0, 1, 2, 1, 0]), {3: 1.0}, estimator)
    assert estimator.seen.groups == {2: 2, 3: 1}


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_not_finite_is_refused_by_node(reward: float) -> None:
    with pytest.raises(InvalidInput, match=f"the reward of node 1 is {reward}; credit needs finite rewards"):
        credit_leaves(shape([0, 0, 0], [1, 2]), {1: reward, 2: 1.0}, Echo())
    with pytest.raises(InvalidInput, match=f"the reward of node 1 is {reward}"):
        credit_leaves(shape([0, 0, 1], [2]), {1: reward, 2: 1.0}, Echo())
