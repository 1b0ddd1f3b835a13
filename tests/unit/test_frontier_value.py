"""Scores of nodes that a frontier's policy compares."""

import pytest
from tests.support.grow import PROMPT_TOKENS

from treeroll.core.tree import Node, NodeStatus, Tree
from treeroll.policies.branch.frontier_value import ValueParams, scores
from treeroll.policies.branch.success import ExpectedSuccess


def tree_of(*nodes):
    """Nodes as (parent, reward); an inner one has no reward."""
    tree = Tree.planted("tree", 7, PROMPT_TOKENS)
    for number, (parent, reward) in enumerate(nodes, 1):
        leaf = reward != "inner"
        tree.add(Node(number, parent, 0, 1, 0, 1, status=NodeStatus.LEAF if leaf else NodeStatus.INNER))
        if leaf:
            tree.rewards[number] = reward
    return tree


def values(tree):
    model = ExpectedSuccess(0.5)
    model.update(tree)
    return [model.of(node) for node in tree.nodes]


def test_nobody_knows_of_success_before_a_leaf_is_scored():
    assert values(tree_of((0, "inner"), (1, "inner"), (0, None))) == [None] * 4


def test_success_is_that_below_with_the_node_above_as_prior():
    tree = tree_of((0, "inner"), (0, "inner"), (1, 1.0), (1, 0.0), (2, 1.0), (2, "inner"))
    # The prompt: 2 of 3. One: (1 + 2/3) / 3. Two: (1 + 2/3) / 2; what is below it without a leaf has its value.
    assert values(tree)[:3] == pytest.approx([2 / 3, 5 / 9, 5 / 6])
    assert values(tree)[6] == pytest.approx(5 / 6)


def test_values_follow_new_leaves():
    tree = tree_of((0, "inner"), (0, 1.0))
    model = ExpectedSuccess(0.5)
    assert model.update(tree) == {0, 2}
    assert model.of(tree.nodes[1]) == 1.0
    tree.add(Node(3, 0, 0, 1, 0, 1, status=NodeStatus.LEAF))
    tree.rewards[3] = 0.0
    model.update(tree)
    assert model.of(tree.nodes[1]) == 0.5


def test_an_unknown_score_is_the_mean_of_the_known():
    tree = tree_of((0, "inner"), (0, "inner"), (0, "inner"))
    for node, text in zip(tree.nodes[1:], ["1+1=2 ", "", "1+1=3 "], strict=True):
        node.text = text
    model = ValueParams(value="steps").model()
    model.update(tree)
    assert scores(model, tree.nodes[1:]) == [1.0, 0.5, 0.0]
    assert scores(model, tree.nodes[2:3]) is None


def test_each_value_says_what_it_reads():
    read = {name: ValueParams(value=name) for name in ("confidence", "success", "steps")}
    assert {name: (params.reads_rewards, params.reads_text) for name, params in read.items()} == {
        "confidence": (False, False),
        "success": (True, False),
        "steps": (False, True),
    }
