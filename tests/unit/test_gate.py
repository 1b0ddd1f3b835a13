"""The value gate of growth across the frontier: what scores below it waits for good, unless there is no other way."""

import math

import pytest
from tests.support.grow import Driver, Outcome, leaf

from treeroll.policies import registry
from treeroll.policy.base import Limits

DEPTH = 3


def grow(recipe, values, leaves=4, **params):
    """First segments are as confident as `values` says, later ones alike."""

    def world(path):
        value = values[path[0]] if len(path) == 1 else 0.9
        return leaf() if len(path) == DEPTH else Outcome(logprob_sum=10 * math.log(value))

    policy = registry.build("branch", recipe, params, Limits(leaves, 10, DEPTH, 1000))
    return Driver(policy, world, hold=True).run()


def went_on(grown):
    """First segments that have something below."""
    return {grown.tree.path(node.parent) for node in grown.tree.nodes if node.depth == 2}


@pytest.mark.parametrize("recipe", ["rebase", "dora", "ets"])
def test_a_level_shares_its_width_among_those_above_the_gate(recipe):
    params = {} if recipe == "rebase" else {"embedder": None}
    values = [0.8, 0.6, 0.55, 0.2]
    assert (3,) in went_on(grow(recipe, values, temperature=10.0, **params))
    grown = grow(recipe, values, temperature=10.0, gate=0.5, **params)
    assert went_on(grown) == {(0,), (1,), (2,)}
    assert len(grown.leaves()) == 4


@pytest.mark.parametrize("recipe", ["bavt", "uct", "cost_band", "depth_first"])
def test_rounds_choose_among_those_above_the_gate(recipe):
    values = [0.3, 0.9]
    assert went_on(grow(recipe, values, width=2)) == {(0,), (1,)}
    assert went_on(grow(recipe, values, width=2, gate=0.5)) == {(1,)}


@pytest.mark.parametrize("recipe", ["rebase", "bavt"])
def test_where_none_passes_and_there_is_no_leaf_the_best_goes_on(recipe):
    grown = grow(recipe, [0.3, 0.4, 0.4, 0.1], gate=0.95)
    assert went_on(grown) == {(1,)}
    assert len(grown.leaves()) >= 1
