"""TreeRL's process credit. Vectors on BINARY: computed by the reference from the release."""

import math

import pytest
from tests.support.credit import BINARY, RAGGED, close, credit_tree, estimate

# Leave-one-out rewards of BINARY are +-4/7; V: .2857 -.2857 | 0 .5714 -.5714 0.
GOOD = 4 / 7


def test_global_plus_local_before_weighting():
    paths = estimate("treerl", BINARY, scale="none")
    assert paths[0] == close(0.5714, -0.2857, 1.1429)
    assert paths[2] == close(0.5714, 0.8571, 0.8571)  # no step at the leaf: the one before counts again


def test_values_are_divided_by_the_root_of_their_leaves_before_differences():
    paths = estimate("treerl", BINARY)
    assert paths[0][0] == pytest.approx(0.2857, abs=5.1e-5)
    assert paths[2][1] == pytest.approx(0.6653, abs=5.1e-5)
    assert paths[0][2] == pytest.approx(1.1429, abs=5.1e-5)


def test_the_finished_sum_may_be_divided_instead():
    paths = estimate("treerl", BINARY, scaled="sum")
    assert paths[0][0] == pytest.approx(0.2857, abs=5.1e-5)
    assert paths[2][1] == pytest.approx(0.6061, abs=5.1e-5)


def test_dividing_by_the_number_of_leaves():
    assert estimate("treerl", BINARY, scale="leaves", terms="global")[2] == close(0.2857 / 4, 0.5714 / 2, 0.5714)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("global", (0.2857, 0.0, 0.5714)),
        ("local", (0.2857, -0.2857, 0.5714)),
        # Against the prompt (0); the prompt and .2857; the prompt, .2857 and 0.
        ("ancestors", (0.2857, -0.1429, 0.5714 - 0.0952)),
        # Leave-one-out of leave-one-out rewards: 8/7 of them.
        ("local_leaf", (0.2857 + 0.6531, -0.2857 + 0.6531, 0.5714 + 0.6531)),
        ("leaf", (0.6531, 0.6531, 0.6531)),
    ],
)
def test_terms(terms, expected):
    assert estimate("treerl", BINARY, terms=terms, scale="none")[0] == pytest.approx(list(expected), abs=1.1e-4)


def test_centring_over_nodes_counts_every_leaf_below():
    tree = credit_tree(["00", "01", "1"], [1, 0, 0])
    # R': 1, -.5, -.5. Nodes: prompt 0 x3, "0" .25 x2, "1" -.5, leaves 1 and -.5; 8 in all.
    mean = (2 * 0.25 - 0.5 + 1 - 0.5) / 8
    assert estimate("treerl", tree, terms="global", scale="none", center="step")[0] == close(0.25 - mean, 1 - mean)


def test_centring_over_tokens_leaves_out_the_prompt():
    tree = credit_tree(["00", "01", "1"], [1, 0, 0])
    mean = (2 * 0.25 - 0.5 + 1 - 0.5) / 5
    assert estimate("treerl", tree, terms="global", scale="none", center="token")[0] == close(0.25 - mean, 1 - mean)


def test_centring_over_nodes_counts_a_stretch_between_forks_once():
    split, whole = credit_tree(["0000", "001", "1"], [1, 0, 0]), credit_tree(["00", "01", "1"], [1, 0, 0])
    credit = estimate("treerl", split, scale="none", center="step")[0]
    assert credit[1:3] == estimate("treerl", whole, scale="none", center="step")[0]


def test_cutting_an_answer_into_more_segments_changes_no_credit():
    split, whole = credit_tree(["0000", "001", "1"], [1, 0, 0]), credit_tree(["00", "01", "1"], [1, 0, 0])
    above, leaf = estimate("treerl", whole)[0]
    assert estimate("treerl", split)[0] == close(above, above, leaf, leaf)


def test_ancestors_are_stretches_between_forks():
    # Computed by the release's rule, with the root of the number of leaves: 3 and 5 are one stretch of it.
    tree = credit_tree(["000", "01", "1"], [1, 0, 0])
    assert estimate("treerl", tree, terms="ancestors")[0] == close(0.176777, 0.911612, 0.911612)


def test_values_may_be_means_of_childrens_values():
    # R': 1, -.5, -.5, -.5 times 4/3 of the gaps; node 0 has two children, of which one has two leaves.
    tree = credit_tree(["000", "001", "01", "1"], [1, 0, 0, 0])
    good, bad = 1.0, -1 / 3
    inner = (good + bad) / 2
    outer = (inner + bad) / 2
    assert estimate("treerl", tree, terms="global", scale="none", average="children")[0] == close(outer, inner, good)
    by_leaves = (good + 2 * bad) / 3
    assert estimate("treerl", tree, terms="global", scale="none")[0] == close(by_leaves, inner, good)


def test_ragged_paths():
    # R': 2/3, -2/3, 2/3, -2/3. Node 1: -2/9 over 3 leaves, 11: 0 over 2.
    assert estimate("treerl", RAGGED)[0] == close(4 / 3)
    one = -2 / 9 / math.sqrt(3)
    assert estimate("treerl", RAGGED)[2] == close(2 * one, -one, 4 / 3)


def test_a_single_leaf_has_no_credit():
    assert estimate("treerl", credit_tree(["000"], [1])) == [[0.0, 0.0, 0.0]]


def test_leaves_nobody_scored_take_no_part():
    partial = credit_tree(["00", "01", "1"], [1, None, 0])
    assert estimate("treerl", partial) == [[2.0, 2.0], [-2.0]]
