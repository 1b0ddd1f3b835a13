"""IB-TPO's step credit. First vector: computed by the reference."""

import pytest
from tests.support.credit import BINARY, RAGGED, close, credit_tree, estimate

PATHS = [f"{i:03b}" for i in range(8)]
REWARDS = [1, 0, 1, 1, 0, 0, 0, 1]


def test_success_against_the_prompt_plus_a_tenth_of_the_information_term():
    tree = credit_tree(PATHS, REWARDS, {"0": 0.3})
    # Node 0: (.75 - .5) / .5 and (1.5 - 1.2) x .3. Node 00: 0 and (2/3 - 1.2) x .5. Leaf: 1 and (2 - 1.2) x .5.
    assert estimate("ib_tpo", tree)[0] == close(0.5 + 0.1 * 0.09, 0.1 * (2 / 3 - 1.2) / 2, 1 + 0.1 * 0.8 / 2)


def test_the_information_term_by_itself():
    tree = credit_tree(PATHS, REWARDS, {"0": 0.3})
    assert estimate("ib_tpo", tree, ib_weight=0.0)[0] == close(0.5, 0.0, 1.0)
    assert estimate("ib_tpo", tree, ib_weight=1.0, beta=1.0)[0][0] == pytest.approx(0.5 + (1.5 - 2) * 0.3)


def test_below_a_parent_without_success_nothing_is_gained():
    # 10 has no success: its leaves are as likely as before, at ratio 1.
    assert estimate("ib_tpo", BINARY)[4] == close(
        -0.5 + 0.1 * (0.5 - 1.2) / 2, -1 + 0.1 * (0 - 1.2) / 2, -1 + 0.1 * (1 - 1.2) / 2
    )


def test_ragged_paths():
    assert estimate("ib_tpo", RAGGED, ib_weight=0.0)[2] == close((1 / 3 - 1 / 2) / 0.5, 0.0, 1.0)


def test_success_is_a_threshold_so_rewards_may_have_any_scale():
    signed = credit_tree(PATHS, [2 * reward - 1 for reward in REWARDS])
    assert estimate("ib_tpo", signed, success=0.0) == estimate("ib_tpo", BINARY)


@pytest.mark.parametrize("rewards", [[1, 1, 1], [0, 0, 0], [0, 0.4, -3]])
def test_a_tree_whose_leaves_agree_has_no_credit(rewards):
    assert estimate("ib_tpo", credit_tree(["00", "01", "1"], rewards)) == [[0.0, 0.0], [0.0, 0.0], [0.0]]


def test_a_single_leaf_and_leaves_nobody_scored():
    assert estimate("ib_tpo", credit_tree(["000"], [1])) == [[0.0, 0.0, 0.0]]
    partial = credit_tree(["00", "01", "1"], [1, None, 0])
    assert estimate("ib_tpo", partial, ib_weight=0.0) == [[1.0, 1.0], [-1.0]]
