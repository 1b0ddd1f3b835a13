"""TreePO's segment credit. First vector: computed by the reference from the release."""

from tests.support.credit import BINARY, RAGGED, close, credit_tree, estimate


def test_every_node_against_its_parent():
    paths = estimate("tree_seg", BINARY)
    assert paths[0] == close(0.1333, -0.2, 0.4667)
    # Leaf values .4, -8/15 | 1/3, 1/3 || -1/3, -1/3 | -.4, 8/15; the prompt is 0.
    assert paths[1] == close(0.1333, -0.2, -8 / 15 + 1 / 15)
    assert paths[2] == paths[3] == close(0.1333, 0.2, 0.0)
    assert paths[4] == paths[5] == close(-0.1333, -0.2, 0.0)
    assert paths[7] == close(-0.1333, 0.2, 8 / 15 - 1 / 15)


def test_ragged_paths():
    # Groups of leaf 0: all four (gap .5) and itself. Of 110: 1/2 x 4, 2/3 x 3, 1/2 x 2 and itself, over 10.
    good, bad, first, second = 2 / 5, (-2 - 1) / 8, (2 + 2 + 1) / 10, (-2 - 1 - 1) / 10
    deep = (first + second) / 2
    assert estimate("tree_seg", RAGGED) == [
        close(good),
        close((bad + deep) / 2, bad - (bad + deep) / 2),
        close((bad + deep) / 2, deep - (bad + deep) / 2, first - deep),
        close((bad + deep) / 2, deep - (bad + deep) / 2, second - deep),
    ]


def test_eta_weakens_a_parent_by_its_distance_from_the_leaf():
    paths = estimate("tree_seg", BINARY, eta=0.5)
    # Values .1333, -.0667, .4; the prompt's is 0.
    assert paths[0] == close(2 / 15, -1 / 15 - 0.25 * 2 / 15, 0.4 + 0.5 / 15)


def test_a_shared_node_has_other_credit_on_a_longer_path():
    tree = credit_tree(["00", "010", "011"], [1, 0, 0])
    short, long, _ = estimate("tree_seg", tree, eta=0.5)
    value = short[0]
    assert value == long[0]  # the prompt's value is 0, whatever its weight
    assert short[1] > 0
    assert long[1] == estimate("tree_seg", tree)[1][1] + value - 0.25 * value


def test_a_single_leaf_has_no_credit():
    assert estimate("tree_seg", credit_tree(["000"], [1])) == [[0.0, 0.0, 0.0]]


def test_leaves_nobody_scored_take_no_part():
    assert estimate("tree_seg", credit_tree(["00", "01", "1"], [1, None, 0])) == estimate(
        "tree_seg", credit_tree(["00", "1"], [1, 0])
    )
