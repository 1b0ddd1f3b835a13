"""ETS on scripted worlds."""

import math

import pytest
from tests.support.grow import Driver, Outcome, goes_on, leaf

from treeroll.policies import registry
from treeroll.policies.branch.ets_program import IntegerProgram
from treeroll.policy.base import Limits

ONE, TWO = "add the two numbers first", "multiply before anything else"


def build(leaves=4, **params):
    return registry.build("branch", "ets", params, Limits(leaves, 10, 4, 1000))


def world(texts):
    """Segments say what is listed for their path, or else what their depth is; paths of four segments."""

    def segment(path):
        return leaf(text="") if len(path) == 4 else Outcome(text=texts.get(path, f"step {len(path)}"))

    return segment


def kept(texts, **params):
    """Paths that the first decision lets go on, with how many each becomes."""
    grown = Driver(build(**params), world(texts), hold=True).run()
    return {grown.tree.path(step.node)[0]: step.forks + 1 for step in goes_on(grown.batches[5])}


def test_like_steps_are_ended_and_their_width_goes_to_the_kept():
    texts = {(0,): ONE, (1,): ONE, (2,): TWO, (3,): ONE}
    # A path's node costs 4/5 of what its share brings: all are worth keeping.
    assert kept(texts) == {0: 1, 1: 1, 2: 1, 3: 1}
    # At twice the price only one of each cluster is; which one of equals is the solver's choice.
    dear = kept(texts, price=2.0)
    assert len(dear) == dear[2] == 2
    assert kept(texts, price=2.0, coverage=0) == {0: 4}


def test_rounding_may_be_the_sources_and_is_rebases_where_nothing_is_priced():
    def confidence(path):
        logprobs = {0: math.log(0.8), 1: math.log(0.6), 2: math.log(0.6), 3: math.log(0.2)}
        return leaf(text="") if len(path) == 4 else Outcome(text="step", logprob_sum=10 * logprobs[path[0]])

    def shares(name, **params):
        policy = registry.build("branch", name, params, Limits(4, 10, 4, 1000))
        grown = Driver(policy, confidence, hold=True).run()
        return [(grown.tree.path(step.node), step.forks) for step in goes_on(grown.batches[5])]

    free = {"price": 0.0, "coverage": 0.0}
    assert shares("ets", **free, rounding="source") == [((0,), 2), ((1,), 0)]
    assert shares("ets", embedder=None, rounding="source") == shares("rebase", rounding="source")
    assert shares("ets", embedder=None) == shares("rebase") == [((0,), 1), ((1,), 0), ((2,), 0)]


def test_the_distance_says_what_is_alike():
    texts = {(0,): ONE, (1,): ONE + ".", (2,): TWO, (3,): ONE + "!"}
    assert len(kept(texts, price=2.0, distance=0.05)) == 2
    assert set(kept(texts, price=1.5, distance=0.0)) == {0, 1, 2, 3}


def test_free_nodes_without_coverage_end_no_path_that_rebase_keeps():
    assert kept({}, price=0, coverage=0) == {0: 1, 1: 1, 2: 1, 3: 1}


def test_dear_nodes_leave_one_path():
    assert kept({}, price=1e6, coverage=0) == {0: 4}
    assert len(kept({(0,): ONE, (1,): TWO}, price=1e6)) == 1


def test_long_nodes_cost_more_by_tokens():
    def segment(path):
        return leaf(text="") if len(path) == 4 else Outcome(text="", n_tokens=100 if path == (0,) else 1)

    for cost, first in (("nodes", 0), ("tokens", 1)):
        grown = Driver(build(cost=cost, price=50, coverage=0), segment, hold=True).run()
        assert [grown.tree.path(step.node) for step in goes_on(grown.batches[5])] == [(first,)]


def test_a_search_given_up_is_replaced_by_the_greedy_choice(monkeypatch):
    texts = {(0,): ONE, (1,): ONE, (2,): TWO, (3,): ONE}
    asked = []
    monkeypatch.setattr(IntegerProgram, "solve", lambda self, problem: asked.append(problem))
    assert kept(texts, price=2.0) == {0: 2, 2: 2}
    assert asked


@pytest.mark.parametrize(
    ("params", "reads"), [({}, True), ({"coverage": 0}, False), ({"embedder": None}, False), ({"value": "steps"}, True)]
)
def test_text_is_read_where_clusters_or_values_need_it(params, reads):
    assert build(**params).needs.text is reads


def test_without_an_embedder_nothing_is_ended_but_by_its_score():
    assert kept({}, embedder=None, price=1e6) == {0: 1, 1: 1, 2: 1, 3: 1}
