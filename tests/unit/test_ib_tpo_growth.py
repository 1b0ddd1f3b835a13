"""IB-TPO grown on scripted worlds."""

import math

import pytest
from tests.support.grow import Driver, Outcome, endless, leaf

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.tree.node import Decision, StopReason

DEPTH = 3


def build(leaves=64, **params):
    return registry.build("branch", "ib_tpo", params, Limits(leaves, 10, DEPTH, 1000))


def grow(world=None, reward=lambda path: 0.0, **params):
    return Driver(build(**params), world or endless(DEPTH), reward=reward).run()


@pytest.mark.parametrize(
    ("params", "leaves"),
    [({}, 12), ({"initial": 2, "rounds": 1}, 2), ({"initial": 3, "rounds": 4, "nodes": 2, "forks": 2}, 15)],
)
def test_leaves_are_those_of_the_first_round_and_of_every_later_one(params, leaves):
    grown = grow(**params)
    assert len(grown.tree.leaves) == build(**params).max_leaves == leaves


def starts(grown):
    """Nodes that later rounds started from, in order."""
    later = [node for node in grown.tree.nodes[1:] if node.branch_reason == "fork"]
    return [grown.tree.path(node.parent) for node in later if node.sibling_index or not node.parent]


def test_a_round_starts_where_success_rises_with_confidence():
    # Chains 0 and 1 of depth 2; node 0 is the more confident. Success: chain 0 only.
    # p: root 1/2, node (0) 1, node (1) 0. J(root) = 6/2 * ((2 - 1.2) * e^-.1 + (0 - 1.2) * e^-.4) = -0.24..,
    # J((0)) = 6 * (1 - 1.2) * e^-.2 = -0.98.., J((1)) = 6 * (1 - 1.2) * e^-.2: the root is best.
    def world(path):
        logprob = {1: -1.0 if path[0] == 0 else -4.0}.get(len(path), -2.0)
        return leaf(StopReason.EOS, logprob_sum=logprob) if len(path) == 2 else Outcome(logprob_sum=logprob)

    grown = grow(world, lambda path: float(path[0] == 0), initial=2, rounds=2)
    growth = grown.growth
    root = 3 * (0.8 * math.exp(-0.1) - 1.2 * math.exp(-0.4))
    assert growth._score(grown.tree.root) == pytest.approx(root)
    assert growth._score(grown.tree.nodes[1]) == pytest.approx(-1.2 * math.exp(-0.2))
    assert starts(grown) == [()]


def test_below_a_node_without_success_nothing_is_gained():
    # All fail: every ratio is 1, so J is (1 + beta) * (-1/beta) * mean pi, and the least confident children win.
    def world(path):
        logprob = -9.0 if path[:1] == (1,) and len(path) == 2 else -1.0
        return leaf(StopReason.EOS, logprob_sum=logprob) if len(path) == 2 else Outcome(logprob_sum=logprob)

    assert starts(grow(world, initial=2, rounds=2)) == [(1,)]


def test_leaves_whose_scorer_failed_do_not_count():
    grown = grow(reward=lambda path: None, initial=2, rounds=2)
    assert starts(grown) == [()]  # nothing is known of any node: the first one in path order


def test_later_rounds_are_retrospective():
    grown = grow(reward=lambda path: float(path[0] == 0))
    for node in grown.tree.nodes[1:]:
        first = grown.tree.path(node.number)[0] < 4 and node.branch_reason == "initial"
        assert node.decision is (Decision.BOUNDARY if first else Decision.RETROSPECTIVE)


def test_more_leaves_than_asked_for_are_refused():
    with pytest.raises(InvalidInput, match="can make 12 leaves, above leaves 8"):
        build(leaves=8)
