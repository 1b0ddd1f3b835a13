"""Paths that can no longer beat the best finished one are set aside, but for a quota."""

import math

import pytest
from tests.support.grow import PROMPT_TOKENS, Driver, Outcome, leaf
from tests.unit.test_round_growths import DEPTH, NAMES, chosen

from treeroll.policies import registry
from treeroll.policies.branch.frontier_value import ValueParams
from treeroll.policies.branch.incumbent import Incumbent
from treeroll.policies.branch.value import Confidence
from treeroll.policy.base import Limits
from treeroll.tree.node import Content, Node, NodeStatus
from treeroll.tree.tree import Tree

MAX_TOKENS = 100


def tree_of(*confidences, reward=None):
    """A scored leaf of 50 tokens, then waiting paths of 50 tokens and such confidences, all from the prompt."""
    tree = Tree.planted("tree", 7, PROMPT_TOKENS)
    tree.add(Node(1, 0, 0, 1, PROMPT_TOKENS, 50, status=NodeStatus.LEAF))
    tree.rewards[1] = reward
    for number, confidence in enumerate(confidences, 2):
        logprob_sum = 50 * math.log(confidence)
        tree.add(Node(number, 0, number - 1, 1, PROMPT_TOKENS, 50, logprob_sum=logprob_sum))
    return tree


def hopeful(tree, revive=0.0, order=1):
    found = Incumbent(Confidence(), revive, MAX_TOKENS).hopeful(tree, tree.nodes[2:][::order])
    return [node.number for node in found]


def test_the_bound_is_the_value_for_what_is_written_and_one_for_the_rest():
    # Half of the tokens are used: bounds 0.65, 0.7 and 0.95.
    assert hopeful(tree_of(0.3, 0.4, 0.9, reward=0.6)) == [2, 3, 4]
    assert hopeful(tree_of(0.3, 0.4, 0.9, reward=0.68)) == [3, 4]
    assert hopeful(tree_of(0.3, 0.4, 0.9, reward=1.0)) == []


def test_what_equals_the_best_leaf_goes_on():
    assert hopeful(tree_of(1.0, reward=1.0)) == [2]


@pytest.mark.parametrize("reward", [None, 0.0])
def test_without_a_reward_to_beat_all_may_go_on(reward):
    assert hopeful(tree_of(0.01, 0.5, reward=reward)) == [2, 3]


def test_of_an_unknown_value_the_best_is_hoped():
    tree = tree_of(0.5, reward=1.0)
    tree.nodes[2].content = Content(text="no arithmetic")
    steps = ValueParams(value="steps").model()
    assert [node.number for node in Incumbent(steps, 0.0, MAX_TOKENS).hopeful(tree, tree.nodes[2:])] == [2]


def test_a_quota_of_what_is_set_aside_is_revived_whatever_the_round_and_the_order():
    tree = tree_of(*[0.5] * 2000, reward=1.0)
    revived = hopeful(tree, 0.1)
    # A binomial count with p = 0.1 strays 13.4 from 200.
    assert abs(len(revived) - 200) < 5 * 13.4
    assert hopeful(tree, 0.1, order=-1) == revived[::-1]
    incumbent = Incumbent(Confidence(), 0.1, MAX_TOKENS)
    rounds = [[node.number for node in incumbent.hopeful(tree, tree.nodes[2:])] for _ in range(3)]
    assert rounds == [revived] * 3


def test_what_grows_from_a_revived_path_stays_revived():
    tree = tree_of(*[0.5] * 100, reward=1.0)
    incumbent = Incumbent(Confidence(), 0.1, MAX_TOKENS)
    revived = incumbent.hopeful(tree, tree.nodes[2:])
    first = len(tree.nodes)
    for node in revived:
        number = len(tree.nodes)
        tree.add(Node(number, node.number, 0, 2, node.total, 10, logprob_sum=-10))
    assert incumbent.hopeful(tree, tree.nodes[first:]) == tree.nodes[first:]
    assert len(revived) > 3


def test_a_path_comes_back_when_its_value_rises():
    tree = tree_of(0.5, 0.5, reward=0.7)
    tree.values = {2: 0.1, 3: 0.9}
    incumbent = Incumbent(ValueParams(value="judge").model(), 0.0, MAX_TOKENS)
    assert [node.number for node in incumbent.hopeful(tree, tree.nodes[2:])] == [3]
    tree.values[2] = 0.5
    assert [node.number for node in incumbent.hopeful(tree, tree.nodes[2:])] == [2, 3]


def early_success(path):
    """The first path ends with its second segment; the others are as sure as exp -1 and go on to DEPTH."""
    return leaf() if len(path) == DEPTH or path == (0, 0) else Outcome(logprob_sum=-10)


def grow(name, **params):
    policy = registry.build("branch", name, {"parallel": 4, "width": 4, **params}, Limits(8, 10, DEPTH, 40))
    return Driver(policy, early_success, hold=True, reward=lambda path: float(path == (0, 0))).run()


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_ends_when_nothing_can_beat_its_best_leaf(name):
    grown = grow(name, revive=0.0)
    assert [grown.tree.path(number) for number in grown.tree.leaves] == [(0, 0)]
    assert len(grow(name, revive=1.0).tree.leaves) == len(grow(name).tree.leaves) == 8


def test_revived_paths_run_to_their_ends():
    grown = grow("depth_first", revive=0.3)
    assert 1 < len(grown.tree.leaves) < 8
    assert chosen(grown)[-1]


@pytest.mark.parametrize("name", NAMES)
def test_only_trees_that_know_the_best_leaf_wait_for_rewards(name):
    limits = Limits(8, 10, DEPTH, 40)
    assert registry.build("branch", name, {"revive": 0.1}, limits).needs.rewards
    assert not registry.build("branch", name, {}, limits).needs.rewards
