"""Dual mirror descent: spending keeps pace with the budget, and goes where it gains most."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.allocate.value import gain, leaves_above, log_gain, value
from treeroll.policy.allocate import BudgetView, TaskView
from treeroll.policy.base import Limits
from treeroll.tree.rng import uniform

LEAVES = 16
COST = 100  # tokens of a leaf


def opened(**params):
    return registry.build("allocate", "dual_descent", params, Limits(LEAVES, 32, 4, 128)).open(1)


def task(rate):
    """A task whose history says this rate; None: it has none."""
    return TaskView("t", "", 1, 0, 0) if rate is None else TaskView("t", "", 1, 1000 * rate, 1000)


def served(rates, budget=None, price=COST, cost=COST, **params):
    """Leaves of a stream of tasks, as a ledger lets them start: none that it has no tokens for. And what is left."""
    left = LEAVES * COST * len(rates) if budget is None else budget
    memory = opened(**params)
    given = []
    for turn, rate in enumerate(rates):
        (leaves,) = memory.allocate([task(rate)], BudgetView(left, None, price, len(rates) - turn, 8))
        leaves = min(leaves, int(left // cost))
        left -= leaves * cost
        given.append(leaves)
    return given, left


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.8, 0.95])
def test_a_constant_stream_spends_what_the_budget_has_for_a_task(rate):
    given, left = served([rate] * 1000)
    assert left <= 0.05 * LEAVES * COST * 1000
    assert sum(given[500:]) / 500 == pytest.approx(LEAVES, rel=0.12)


def test_a_first_guess_of_what_leaves_cost_is_made_up_for():
    # Until the first leaves are in, a leaf is taken to have as many tokens as it may.
    memory, left = opened(), LEAVES * COST * 1000
    given = []
    for turn in range(1000):
        view = BudgetView(left, None, 8 * COST if turn < 20 else COST, 1000 - turn, 8)
        given += memory.allocate([task(0.2)], view)
        left -= given[-1] * COST
    assert min(given) >= 2
    assert 0 <= left <= 0.05 * LEAVES * COST * 1000


@given(
    st.lists(st.floats(0, 1) | st.none(), min_size=1, max_size=60),
    st.integers(0, 100_000),
    st.floats(0, 1e6),
    st.integers(1, 10_000),
)
def test_spending_never_passes_the_budget(rates, budget, price, cost):
    given, left = served(rates, budget, price, cost)
    assert left >= 0
    assert sum(given) * cost + left == budget


def test_a_mixed_stream_is_worth_more_than_the_same_leaves_for_all():
    rates = [uniform(5, "rate", turn) for turn in range(1000)]
    given, _ = served(rates)
    same = [value(LEAVES, rate) for rate in rates]
    assert math.fsum(map(value, given, rates)) > 1.01 * math.fsum(same)


def test_leaves_are_those_that_gain_more_than_they_cost():
    first, second = opened().allocate([task(0.5), task(0.1)], BudgetView(10**6, None, COST, 1000, 8))
    assert first < second
    # Both stop at the same price, but for the step between them.
    assert gain(first, 0.5) < gain(second - 1, 0.1) * 1.1
    assert gain(second, 0.1) < gain(first - 1, 0.5) * 1.1


def test_the_price_rises_when_spending_is_ahead_and_falls_when_it_is_behind():
    rich, poor = opened(eta=0.5), opened(eta=0.5)
    asked = [task(0.3)]
    more, less = (
        [memory.allocate(asked, view) for _ in range(6)]
        for memory, view in (
            (rich, BudgetView(10**9, None, COST, 100, 8)),
            (poor, BudgetView(10**5, None, COST, 100, 8)),
        )
    )
    assert all(one <= other for one, other in itertools.pairwise(more))
    assert all(one >= other for one, other in itertools.pairwise(less))
    assert more[-1] > more[0]
    assert less[-1] < less[0]


def test_a_choice_that_the_tokens_left_do_not_cover_becomes_the_least_and_moves_the_price_all_the_same():
    memory = opened(eta=1.0)
    short = BudgetView(5 * COST, None, COST, 1, 8)
    assert memory.allocate([task(0.05)], short) == [2]
    ample = BudgetView(10**6, None, COST, 1, 8)
    assert memory.allocate([task(0.05)], ample)[0] < opened(eta=1.0).allocate([task(0.05)], ample)[0]


def test_tasks_of_one_outcome_get_the_least_and_unknown_ones_the_runs_leaves():
    assert opened().allocate([task(0.0), task(1.0), task(None)], BudgetView(10**6, None, COST, 1000, 8)) == [2, 2, 16]


def test_a_price_stays_where_it_matters_however_long_nothing_is_wanted():
    memory = opened(eta=10.0)
    view = BudgetView(10**9, None, COST, 10**6, 8)
    for _ in range(100):
        memory.allocate([task(0.0)], view)
    spend = [memory.allocate([task(0.5)], BudgetView(10**4, None, COST, 10, 8))[0] for _ in range(2)]
    assert spend == [2, 2]  # 128 do not fit, and the first task's wish has raised the price


@pytest.mark.parametrize("rate", [1e-12, 0.05, 1 / 3, 0.5, 0.97])
def test_logarithms_of_gains_are_those_of_the_gains(rate):
    for leaves in (1, 2, 9, 60):
        assert log_gain(leaves, rate) == pytest.approx(math.log(gain(leaves, rate)), rel=1e-9)
    assert log_gain(100_000, rate) > -math.inf == log_gain(3, 0.0)


@given(
    st.floats(0, 1) | st.sampled_from([0.0, 1e-300, 1e-12, 0.5, 1 - 1e-12, 1.0]),
    st.floats(-1000, 1000) | st.integers(1, 200),
    st.integers(1, 200),
    st.integers(0, 200),
)
def test_leaves_above_a_price_are_those_that_looking_at_each_of_them_finds(rate, bar, least, room):
    if isinstance(bar, int):  # just the gain of so many leaves
        bar = max(-1000.0, log_gain(bar, rate))
    found = leaves_above(bar, rate, least, least + room)
    assert found == next((n for n in range(least, least + room) if log_gain(n, rate) <= bar), least + room)


def test_it_needs_tokens_to_price_and_says_so():
    assert registry.build("allocate", "dual_descent", {}, Limits(LEAVES, 32, 4, 128)).needs == ("tokens",)
    with pytest.raises(InvalidInput, match="eta is 0"):
        opened(eta=0)
