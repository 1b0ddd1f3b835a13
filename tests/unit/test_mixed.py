"""Leaves by the chance of a mixed group: the chance itself, and how it is shared out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.policies import registry
from treeroll.policies.allocate.mixed import p_mixed
from treeroll.policy.allocate import BudgetView, TaskView
from treeroll.policy.base import Limits

BUDGET = BudgetView(None, None, 100.0, 10, 8)
counts = st.integers(0, 30)


def allocated(histories, leaves=8, **params):
    """Leaves of tasks by (successes, scored)."""
    memory = registry.build("allocate", "mixed", params, Limits(leaves, 32, 4, 128)).open(1)
    return memory.allocate([TaskView(f"t{n:03}", "", 1, *history) for n, history in enumerate(histories)], BUDGET)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 8))
def test_the_chance_is_that_of_polyas_urn(successes, failures, leaves):
    def alike(these, others):
        return math.prod((these + drawn) / (these + others + drawn) for drawn in range(leaves))

    expected = 1 - alike(successes, failures) - alike(failures, successes)
    assert p_mixed(successes, failures, leaves) == pytest.approx(expected, abs=1e-12)


def test_one_leaf_is_never_mixed_and_certain_outcomes_neither():
    assert p_mixed(3, 3, 1) == pytest.approx(0, abs=1e-12)
    assert p_mixed(0, 5, 8) == p_mixed(5, 0, 8) == 0


def test_tasks_that_always_fail_or_succeed_keep_the_least_and_the_others_share_what_that_saves():
    assert allocated([(0, 8), (8, 8), (4, 8), (4, 8)]) == [2, 2, 14, 14]
    assert allocated([(0, 8), (8, 8), (4, 8), (4, 8)], most=10) == [6, 6, 10, 10]


def test_a_prior_leaves_a_chance_to_what_has_not_differed_yet():
    never, always, *mixed = allocated([(0, 8), (8, 8), (4, 8), (4, 8)], prior=0.5)
    assert 2 < never <= always + 1 < min(mixed)


def test_without_a_chance_anywhere_or_a_history_all_get_the_same():
    assert allocated([(0, 8), (8, 8)]) == [8, 8]
    assert allocated([(0, 0), (4, 8), (0, 8)]) == [8, 14, 2]


@given(st.lists(st.tuples(counts, counts), max_size=40), st.sampled_from([0.0, 0.5, 3.0]))
def test_all_leaves_are_given_and_a_likelier_mixture_gets_no_fewer(pairs, prior):
    histories = [(successes, successes + failures) for successes, failures in pairs]
    leaves = allocated(histories, prior=prior)
    assert sum(leaves) == 8 * len(histories)
    known = [
        (p_mixed(successes + prior, scored - successes + prior, 8), count)
        for (successes, scored), count in zip(histories, leaves, strict=True)
        if scored
    ]
    for chance, count in known:
        assert all(other <= count + 1 for less, other in known if less < chance - 1e-12)
