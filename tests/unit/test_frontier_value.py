"""Scores of nodes that a frontier's policy compares."""

import math

import pytest
from tests.support.grow import PROMPT_TOKENS

from treeroll.policies.branch.frontier_value import ValueParams, scores
from treeroll.policies.branch.success import ExpectedSuccess
from treeroll.tree.node import Content, Node, NodeStatus, Observation
from treeroll.tree.tree import Tree


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
        node.content = Content(text=text)
    model = ValueParams(value="steps").model()
    model.update(tree)
    assert scores(model, tree.nodes[1:]) == [1.0, 0.5, 0.0]
    assert scores(model, tree.nodes[2:3]) is None


def test_the_confidence_of_a_path_is_over_its_sampled_tokens_whatever_their_segments():
    tree = Tree.planted("tree", 7, PROMPT_TOKENS)
    model = ValueParams(value="path_confidence").model()
    tree.add(Node(1, 0, 0, 1, 5, 30, logprob_sum=-3.0, path_logprob_sum=-3.0))
    model.update(tree)
    assert model.of(tree.nodes[1]) == pytest.approx(math.exp(-0.1))
    # Ten tokens, of which a tool's answer is six: nobody was sure or unsure of those.
    answer = Content(observation=Observation(bytes(4 * 6), "=14\n"))
    tree.add(Node(2, 1, 0, 2, 35, 10, logprob_sum=-4.0, path_logprob_sum=-7.0, content=answer))
    tree.add(Node(3, 2, 0, 3, 45, 1, logprob_sum=-0.0, path_logprob_sum=-7.0))
    model.update(tree)
    assert [model.of(node) for node in tree.nodes[2:]] == pytest.approx([math.exp(-7 / 34), math.exp(-7 / 35)])
    assert ValueParams(value="confidence").model().of(tree.nodes[2]) == pytest.approx(math.exp(-1))


def test_each_value_says_what_it_reads():
    read = {name: ValueParams(value=name) for name in ("confidence", "path_confidence", "success", "steps")}
    assert {name: (params.needs.rewards, params.needs.text) for name, params in read.items()} == {
        "confidence": (False, False),
        "path_confidence": (False, False),
        "success": (True, False),
        "steps": (False, True),
    }
