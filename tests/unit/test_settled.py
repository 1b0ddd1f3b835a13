"""Settled subtrees: when they are, and that growths leave them alone."""

import pytest
from tests.support.grow import Driver, Outcome, endless, leaf

from treeroll.policies import registry
from treeroll.policies.branch.settled import Settled, SettledParams
from treeroll.policies.branch.success import SuccessRates
from treeroll.policy.base import Limits
from treeroll.tree.node import Node, NodeStatus
from treeroll.tree.tree import Tree

LIMITS = Limits(64, 10, 3, 1000)


def settled(rewards, **params):
    """A tree of the prompt, one inner node and its leaves, with the test on it."""
    tree = Tree.planted("t", 7, 5)
    tree.add(Node(1, 0, 0, 1, 5, 10))
    for number, reward in enumerate(rewards, 2):
        tree.add(Node(number, 1, number - 2, 2, 15, 10, status=NodeStatus.LEAF))
        tree.rewards[number] = reward
    rates = SuccessRates(0.5)
    rates.update(tree)
    return tree, Settled(SettledParams(**params), rates)


@pytest.mark.parametrize(
    ("rewards", "params", "expected"),
    [
        ([1, 1], {"settled_after": 2}, True),
        ([0, 0], {"settled_after": 2}, True),
        ([0, 1], {"settled_after": 2}, False),
        ([1, 1], {"settled_after": 3}, False),
        ([1, None], {"settled_after": 2}, False),
        ([0, 0, 0, 1], {"settled_after": 2, "settled_at_most": 0.25}, True),
        ([0, 0, 1], {"settled_after": 2, "settled_at_most": 0.25}, False),
        ([], {"settled_after": 1}, False),
        ([0, 0, 0], {}, False),
    ],
)
def test_enough_leaves_that_agree_or_are_hopeless_settle_a_subtree(rewards, params, expected):
    tree, test = settled(rewards, **params)
    assert test.here(tree.nodes[1]) is expected
    assert test.above(tree, tree.nodes[1]) is expected


def test_what_is_below_a_settled_node_is_settled_too():
    tree, test = settled([0, 0], settled_after=2)
    below = tree.nodes[2]
    assert (test.here(below), test.above(tree, below)) == (False, True)


def grow(name, world, reward, **params):
    policy = registry.build("branch", name, params, LIMITS)
    return Driver(policy, world, hold=True, reward=reward).run()


def forked(grown):
    """Paths of the nodes that were expanded after the prompt was, in order."""
    batches = [batch for batch in grown.batches[1:] if batch and batch[0].forks]
    return [grown.tree.path(step.node) for batch in batches for step in batch]


def test_ib_tpo_goes_on_elsewhere_and_ends_when_all_is_settled():
    # All fail, so rounds go where the children are least confident, see its own tests: to (1).
    def world(path):
        logprob = -9.0 if path[:1] == (1,) and len(path) == 2 else -1.0
        return leaf(logprob_sum=logprob) if len(path) == 2 else Outcome(logprob_sum=logprob)

    fails = lambda path: 0.0  # noqa: E731
    assert forked(grow("ib_tpo", world, fails, initial=2, rounds=4)) == [(1,), (1,), (1,)]
    # One failure settles (0) and (1), and two the prompt.
    assert forked(grow("ib_tpo", world, fails, initial=2, rounds=4, settled_after=1)) == []
    # Of the prompt and (0), which are equal, the first; then the prompt has two failures.
    assert forked(grow("ib_tpo", world, fails, initial=1, rounds=4, settled_after=2)) == [()]


def test_ib_tpo_leaves_a_settled_subtree_for_one_that_is_not():
    succeeds = lambda path: float(path[0] == 0)  # noqa: E731
    before = forked(grow("ib_tpo", endless(3), succeeds, initial=2, rounds=5))
    after = forked(grow("ib_tpo", endless(3), succeeds, initial=2, rounds=5, settled_after=1))
    assert any(before)
    assert after == [()] * 4  # only the prompt has leaves that differ


def test_deepsearch_takes_settled_subtrees_off_the_frontier():
    # The dive goes to (0, 0), whose two leaves fail: (0) and the prompt are settled with it.
    expanded = forked(grow("deepsearch", endless(3), lambda path: 0.0, width=2, terminals=3))
    assert expanded[:3] == [(0,), (0, 0), (0, 1)]
    expanded = forked(grow("deepsearch", endless(3), lambda path: 0.0, width=2, terminals=3, settled_after=2))
    assert expanded == [(0,), (0, 0)]


def test_rest_mcts_closes_settled_subtrees():
    params = {"width": 2, "iterations": 9, "roll_forward": 9, "value": "success", "successes": 9}
    outcomes = lambda path: float(path[0] == 0)  # noqa: E731
    assert (0,) in forked(grow("rest_mcts", endless(3), outcomes, **params))
    # The first roll-forward from (0) succeeds, which settles it, and then the prompt.
    assert forked(grow("rest_mcts", endless(3), outcomes, settled_after=1, **params)) == []
