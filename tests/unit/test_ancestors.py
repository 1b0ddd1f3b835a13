"""Credit against the other children of all forks above."""

from fractions import Fraction

import pytest

from treeroll.policies import registry
from treeroll.policy.base import CreditTree, Limits

LIMITS = Limits(leaves=16, segment_tokens=8, max_depth=4, max_tokens=32)


def credit(paths: dict[int, tuple[int, ...]], rewards: dict[int, float], name: str = "ancestors") -> dict:
    nodes = {0, *(node for path in paths.values() for node in path)}
    return registry.build("advantage", name, {}, LIMITS).estimate(CreditTree(paths, rewards, dict.fromkeys(nodes, 4)))


def test_a_node_is_compared_with_the_other_children_of_every_fork_above_it() -> None:
    # The prompt has 1 and 2; 1 has 3 and 4, 2 has 5 and 6.
    paths = {3: (1, 3), 4: (1, 4), 5: (2, 5), 6: (2, 6)}
    found = credit(paths, {3: 1.0, 4: 0.0, 5: 0.0, 6: 0.0})
    # V(1) = 1/2, V(2) = 0. Leaf 3: 1 - (0 of its sibling + 0 of node 2) / 2. Leaf 4: 0 - (1 + 0) / 2.
    assert found[3] == (0.5, 1.0)
    assert found[4] == (0.5, -0.5)
    # Leaf 5: 0 - (0 of its sibling + 1/2 of node 1) / 2.
    assert found[5] == found[6] == (-0.5, -0.25)


def test_of_independent_samples_it_is_leave_one_out() -> None:
    paths = {leaf: (leaf,) for leaf in range(1, 6)}
    rewards = {leaf: float(leaf % 3) for leaf in paths}
    ours, theirs = credit(paths, rewards), credit(paths, rewards, "rloo")
    for leaf in paths:
        assert ours[leaf] == pytest.approx(theirs[leaf], abs=1e-12)


def test_what_nothing_was_tried_beside_gets_nothing() -> None:
    # One plan, node 1, from which four answers start.
    paths = {leaf: (1, leaf) for leaf in (2, 3, 4, 5)}
    found = credit(paths, {2: 1.0, 3: 1.0, 4: 0.0, 5: 0.0})
    assert [values[0] for values in found.values()] == [0.0] * 4
    assert found[2][1] == pytest.approx(2 / 3)


def test_equal_rewards_teach_nothing_exactly() -> None:
    paths = {3: (1, 3), 4: (1, 4), 5: (1, 5), 2: (2,)}
    assert set(sum(credit(paths, dict.fromkeys(paths, 0.1)).values(), ())) == {0.0}


def test_cutting_a_segment_in_two_changes_no_token() -> None:
    whole = credit({3: (1, 3), 4: (1, 4), 2: (2,)}, {3: 1.0, 4: 0.0, 2: 0.0})
    # 1 becomes 1 and 7, 2 becomes 2 and 8.
    cut = credit({3: (1, 7, 3), 4: (1, 7, 4), 8: (2, 8)}, {3: 1.0, 4: 0.0, 8: 0.0})
    assert cut[3] == (whole[3][0], whole[3][0], whole[3][1])
    assert cut[4] == (whole[4][0], whole[4][0], whole[4][1])
    assert set(cut[8]) == set(whole[2])


def test_with_path_weights_the_gradient_of_a_world_of_coins_is_exact() -> None:
    """All trees of a world are counted: two roots, of which one that says 1 ends, and one that says 0 forks in two."""
    total = Fraction(0)  # of weight * credit * score of the first token, score +1 for 1 and -1 for 0
    chance = Fraction(1, 2)
    reward = {"1": 1.0, "00": 0.0, "01": 1.0}

    def below(first: str) -> list[tuple[Fraction, tuple[str, ...]]]:
        if first == "1":
            return [(Fraction(1), ("1",))]
        return [(chance * chance, (f"0{a}", f"0{b}")) for a in "01" for b in "01"]

    for one in "10":
        for two in "10":
            for p, left in below(one):
                for q, right in below(two):
                    paths, rewards, weights, number = {}, {}, {}, 2
                    for root, texts in ((1, left), (2, right)):
                        for text in texts:
                            number += 1
                            leaf = root if len(texts) == 1 else number
                            paths[leaf] = (root,) if len(texts) == 1 else (root, leaf)
                            rewards[leaf], weights[leaf] = reward[text], Fraction(1, 2 * len(texts))
                    found = credit(paths, rewards)
                    value = sum(
                        weights[leaf] * Fraction(found[leaf][0]).limit_denominator(1000) * (1 if first == "1" else -1)
                        for leaf, first in ((leaf, one if paths[leaf][0] == 1 else two) for leaf in paths)
                    )
                    total += chance * chance * p * q * value
    # d/d theta of the mean reward, P(1) = 1/2: (1 - 1/2) / 2, since the value of 1 is 1 and that of 0 is 1/2.
    assert total == Fraction(1, 4)
