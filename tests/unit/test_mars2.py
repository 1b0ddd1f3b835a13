"""MARS2's credit. Shaped rewards: computed by the reference."""

import statistics

import pytest
from tests.support.credit import RAGGED, close, credit_tree, estimate

# A = .2 and B = .6 under the prompt, C = 1 refines A.
REFINED = credit_tree(["00", "1"], [1.0, 0.6], inner={"0": 0.2})


def normed(*shaped):
    mean, std = statistics.mean(shaped), statistics.stdev(shaped)
    return [(value - mean) / (std + 1e-9) for value in shaped]


def test_rewards_are_shaped_from_a_snapshot():
    # In place, C would be compared with A's shaped 0 and become 1.5.
    first, second, third = normed(0.0, 0.8, 1.4)
    assert estimate("mars2", REFINED) == [close(first, third), close(second)]


def test_with_parent_and_siblings_the_baseline_is_a_mixture():
    tree = credit_tree(["00", "01", "1"], [1.0, 0.5, 0.6], inner={"0": 0.2})
    # C: parent .2 and sibling .5; its sibling: parent .2 and sibling 1.
    shaped = [0.2 + 0.5 * (0.2 - 0.6), 1 + 0.5 * (1 - 0.35), 0.5 + 0.5 * (0.5 - 0.6), 0.6 + 0.5 * (0.6 - 0.2)]
    a, c, d, b = normed(*shaped)
    assert estimate("mars2", tree) == [close(a, c), close(a, d), close(b)]
    shaped = [0.2 + 2 * (0.2 - 0.6), 1 + 2 * (1 - 0.275), 0.5 + 2 * (0.5 - 0.4), 0.6 + 2 * (0.6 - 0.2)]
    assert estimate("mars2", tree, gamma=2.0, sibling_share=0.25)[0] == close(*normed(*shaped)[:2])


def test_without_rewards_on_inner_nodes_all_leaves_are_siblings():
    assert estimate("mars2", RAGGED)[0] == close(normed(4 / 3, -1 / 3, 4 / 3, -1 / 3)[0])


def test_segments_up_to_a_candidate_belong_to_it():
    found = estimate("mars2", credit_tree(["000", "100"], [1.0, 0.6], inner={"0": 0.2}))
    assert found[0][1] == found[0][2] != found[0][0]
    assert len(set(found[1])) == 1


def test_candidates_on_paths_nobody_scored_count_in_the_group():
    tree = credit_tree(["00", "1", "2"], [None, 1.0, 0.0], inner={"0": 0.5})
    assert estimate("mars2", tree) == [close(normed(0.5, 1.375, -0.375)[1]), close(normed(0.5, 1.375, -0.375)[2])]


@pytest.mark.parametrize("rewards", [[0.1] * 3, [0.1, None, None]])
def test_without_contrast_credit_is_exactly_zero(rewards):
    assert {value for path in estimate("mars2", credit_tree(["0", "1", "2"], rewards)) for value in path} == {0.0}
