"""DeepSearch grown on scripted worlds."""

import pytest
from tests.support.grow import Driver, Outcome, endless, leaf

from treeroll.policies import registry
from treeroll.policies.branch.deepsearch import _updated
from treeroll.policy.base import Limits
from treeroll.tree.node import Decision, NodeStatus, StopReason

DEPTH = 3


def build(**params):
    return registry.build("branch", "deepsearch", params, Limits(64, 10, DEPTH, 1000))


def grow(world=None, reward=lambda path: 0.0, **params):
    return Driver(build(**params), world or endless(DEPTH), hold=True, reward=reward).run()


def expanded(grown):
    """Paths of the nodes that were expanded, in order."""
    return [grown.tree.path(batch[0].node) for batch in grown.batches if batch]


def test_the_search_dives_until_a_path_ends():
    grown = grow(width=2, terminals=1)
    assert expanded(grown) == [(), (0,), (0, 0)]
    assert len(grown.tree.leaves) == 2


def test_after_an_ending_it_goes_on_at_the_best_of_the_whole_frontier():
    # The first ending fails: the root and the dive's path turn negative, so the untouched nodes next to the root,
    # whose parent is the least negative, are best in spite of the depth bonus.
    grown = grow(width=2, terminals=2)
    assert expanded(grown)[3] == (1,)
    # It succeeds: depth and the parent's value both speak for the deepest node left.
    grown = grow(width=2, terminals=2, reward=lambda path: 1.0)
    assert expanded(grown)[3] == (0, 1)


def test_a_back_up_weighs_nodes_by_their_depth():
    grown = grow(width=2, terminals=1, reward=lambda path: 1.0)
    values = {grown.tree.path(number): value for number, value in grown.growth._values.items()}
    assert values == {(): 0.25, (0,): 0.5, (0, 0): 0.75, (0, 0, 0): 1.0}


@pytest.mark.parametrize(
    ("value", "change", "after"),
    [(0.0, 0.5, 0.5), (0.5, 0.5, 1.0), (-0.5, 0.3, 0.3), (0.5, -0.3, 0.5), (-0.5, -0.3, -0.8), (0.0, -0.3, -0.3)],
)
def test_success_replaces_failure_and_failure_never_lowers_success(value, change, after):
    assert _updated(value, change) == pytest.approx(after)


def test_the_most_confident_success_is_backed_up_then_failures_then_unfinished_paths():
    ends = {
        0: (StopReason.LENGTH, -0.1),
        1: (StopReason.EOS, -5.0),
        2: (StopReason.EOS, -3.0),
        3: (StopReason.EOS, -9.0),
    }

    def world(path):
        reason, logprob = ends[path[0]]
        return leaf(reason, logprob_sum=logprob)

    def backed_up(successes):
        grown = grow(world, lambda path: float(path[0] in successes), width=4, terminals=1)
        return [grown.tree.path(number) for number in grown.growth._visits if number]

    assert backed_up({1, 3}) == [(1,)]
    assert backed_up(set()) == [(2,)]
    assert backed_up({0}) == [(0,)]


def test_it_stops_when_nothing_is_left_to_expand():
    discarding = lambda path: Outcome(NodeStatus.PRUNED, StopReason.MIN_LENGTH)  # noqa: E731
    assert expanded(grow(discarding, width=2, terminals=3)) == [()]


def test_what_was_chosen_by_rewards_is_retrospective_also_where_a_path_goes_on():
    grown = grow(width=2, terminals=3)
    for node in grown.tree.nodes[1:]:
        assert node.decision is (Decision.BOUNDARY if node.depth == 1 else Decision.RETROSPECTIVE)
