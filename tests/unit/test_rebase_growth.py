"""REBASE, and growth by levels, on scripted worlds."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.grow import Driver, Outcome, endless, goes_on, leaf, ragged

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.branch.rebase import BySoftmax
from treeroll.policy.base import Limits
from treeroll.tree.node import Decision

DEPTH = 3


def build(leaves=8, **params):
    return registry.build("branch", "rebase", params, Limits(leaves, 10, DEPTH, 1000))


def grow(world=None, reward=lambda path: 0.0, pick=lambda n: 0, **params):
    return Driver(build(**params), world or endless(DEPTH), hold=True, reward=reward, pick=pick).run()


def sure(values):
    """First segments are as confident as said, all others alike; paths in no list end there."""

    def world(path):
        if len(path) == DEPTH or (len(path) == 1 and path[0] not in values):
            return leaf()
        return Outcome(logprob_sum=10 * math.log(values[path[0]]))

    return world


def test_a_level_shares_the_width_by_softmax_of_its_scores():
    grown = grow(sure({0: 0.8, 1: 0.6, 2: 0.6, 3: 0.2}), leaves=4, temperature=0.2)
    # e^4, e^3, e^3, e^1 of four: 2.25, 0.83, 0.83, 0.11.
    assert [(step.node, step.forks) for step in goes_on(grown.batches[5])] == [(1, 1), (2, 0), (3, 0)]
    assert grown.width_at(2) == 4


def test_paths_that_ended_use_up_width_and_those_without_a_share_do_not():
    grown = grow(sure({0: 0.9, 1: 0.1}), leaves=6, temperature=0.01)
    assert grown.leaves() == ["0.0.0", "0.1.0", "2", "3", "4", "5"]


def test_while_no_score_is_known_shares_are_equal():
    grown = grow(value="success", leaves=6)
    assert len(grown.leaves()) == 6
    assert grown.width_at(1) == grown.width_at(2) == grown.width_at(3) == 6


def test_levels_are_boundary_decisions_and_with_a_quorum_retrospective():
    for quorum, decision in ((1.0, Decision.BOUNDARY), (0.5, Decision.RETROSPECTIVE)):
        grown = grow(quorum=quorum)
        assert {node.decision for node in grown.tree.nodes if node.depth > 1} == {decision}


def test_a_quorum_decides_without_the_late_and_takes_them_in_the_next_round():
    grown = grow(leaves=4, quorum=0.5)
    # Two of four are decided at once; with those two running again, the late two are a quorum.
    decided = [[grown.tree.path(step.node) for step in batch] for batch in grown.batches if batch][1:]
    assert [len(batch) for batch in decided] == [2] * len(decided)
    assert grown.width_at(DEPTH) == len(grown.leaves()) == 4


@given(st.integers(0, 1000), st.sampled_from([0.3, 0.6, 0.9]), st.integers(0, 2**32))
def test_no_quorum_makes_more_leaves_than_wanted_or_loses_a_path(seed, quorum, order):
    pick = random.Random(order).randrange
    grown = grow(ragged(seed, DEPTH, 0.2, 0.1), quorum=quorum, pick=pick)
    ended = len(grown.tree.leaves) + len(grown.tree.pruned)
    assert ended == 8


@pytest.mark.parametrize(("early", "named"), [({"quorum": 0.5}, "quorum 0.5"), ({"timeout_s": 2}, "timeout_s 2")])
def test_rewards_need_whole_levels(early, named):
    with pytest.raises(InvalidInput, match=rf"'rebase': {named} and value success cannot work together"):
        build(value="success", **early)


def test_rounding_may_be_the_sources():
    # Scores whose exponents are as 9.2, 4.1, 1.5, .7, .3 and .2 of 16.
    scores = [0.2 * math.log(weight) for weight in (9.2, 4.1, 1.5, 0.7, 0.3, 0.2)]
    assert BySoftmax(0.2, "exact").shares(None, [], scores, 16) == [9, 4, 2, 1, 0, 0]
    assert BySoftmax(0.2, "source").shares(None, [], scores, 16) == [10, 4, 2, 0, 0, 0]
    world = sure({0: 0.8, 1: 0.6, 2: 0.6, 3: 0.2})
    # e^4, e^3, e^3, e^1 of four: 2.25, then 0.55 of one path that is left.
    grown = grow(world, leaves=4, rounding="source")
    assert [(step.node, step.forks) for step in goes_on(grown.batches[5])] == [(1, 2), (2, 0)]
    with pytest.raises(InvalidInput, match="rounding is 'nearest'"):
        build(rounding="nearest")


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.integers(0, 300),
    st.floats(0.01, 2),
    st.sampled_from(["exact", "source"]),
)
def test_shares_sum_exactly_and_a_better_score_gets_no_less(scores, width, temperature, rounding):
    shares = BySoftmax(temperature, rounding).shares(None, [], scores, width)
    assert sum(shares) == width
    assert min(shares) >= 0
    ranked = sorted(zip(scores, shares, strict=True))
    assert all(
        low[1] <= high[1]
        for low, high in pairwise(ranked)
        if math.exp(low[0] / temperature) < math.exp(high[0] / temperature)
    )
