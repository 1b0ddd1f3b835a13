"""Leaves by Neyman's rule: the proportion, its bounds, and that no other sharing knows the mean better."""

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.allocate.neyman import shared
from treeroll.policy.allocate import BudgetView, TaskView
from treeroll.policy.base import Limits

BUDGET = BudgetView(None, None, 100.0, 10, 8)
counts = st.integers(0, 30)


def allocated(histories, leaves=16, ids=None, **params):
    """Leaves of tasks by (successes, scored, tokens)."""
    memory = registry.build("allocate", "neyman", params, Limits(leaves, 32, 4, 128)).open(1)
    ids = ids or [f"t{number:03}" for number in range(len(histories))]
    return memory.allocate([TaskView(name, "", 1, *known) for name, known in zip(ids, histories, strict=True)], BUDGET)


def test_leaves_are_in_proportion_to_the_deviation_of_outcomes():
    # q = (s + 1/2) / 17: 1/2 and 1.5/17, whose deviations are as .5 to .2836.
    histories = [(8, 16, 1600), (1, 16, 1600)]
    first = 32 * 0.5 / (0.5 + math.sqrt(1.5 * 15.5) / 17)
    assert allocated(histories) == [round(first), 32 - round(first)] == [20, 12]


def test_and_to_one_over_the_root_of_what_a_leaf_takes():
    assert allocated([(8, 16, 16 * 100), (8, 16, 16 * 400)], leaves=15) == [20, 10]
    # Twice as many leaves twice as long: a leaf counts, not a tree.
    assert allocated([(8, 16, 16 * 100), (16, 32, 32 * 100)], leaves=15) == [15, 15]


def test_whoever_always_fails_or_succeeds_keeps_two_leaves_at_least():
    # q = .5 / 201 and 200.5 / 201: deviation .0498 against .5.
    assert allocated([(0, 200, 1), (200, 200, 1), (100, 200, 1), (100, 200, 1)], leaves=8) == [2, 2, 14, 14]
    # After 16 leaves they have more than that: .1690 against .5.
    assert allocated([(0, 16, 1), (16, 16, 1), (8, 16, 1), (8, 16, 1)], leaves=16) == [8, 8, 24, 24]


def test_what_does_not_fit_below_the_most_goes_to_the_others():
    assert allocated([(8, 16, 1), (0, 200, 1), (0, 200, 1)], leaves=8, most=10) == [10, 7, 7]


def test_tasks_without_history_get_the_runs_leaves_and_the_others_share_theirs():
    found = allocated([(0, 0, 0), (8, 16, 1), (1, 16, 1)])
    assert found[0] == 16
    assert sum(found) == 48
    assert found[1] > found[2]
    assert allocated([]) == []


def test_a_history_that_does_not_say_its_tokens_counts_as_long_as_the_others():
    # 100 and 300 a leaf, so 200 for the third.
    known = [(8, 16, 1600), (8, 16, 4800), (8, 16, 3200)]
    assert allocated([*known[:2], (8, 16, 0)], leaves=50) == allocated(known, leaves=50)
    assert allocated([(8, 16, 0), (8, 16, 0)]) == [16, 16]


def test_leaves_go_by_task_whatever_the_order_of_submission():
    histories = [(0, 8, 9), (3, 8, 9), (3, 8, 9), (8, 8, 9), (0, 0, 0)]
    ids = [f"t{number}" for number in range(len(histories))]
    there = dict(zip(ids, allocated(histories, leaves=7, ids=ids), strict=True))
    back = dict(zip(ids[::-1], allocated(histories[::-1], leaves=7, ids=ids[::-1]), strict=True))
    assert there == back


@given(
    st.lists(st.floats(1e-3, 10), min_size=1, max_size=30),
    st.integers(1, 4),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_shares_are_proportional_within_the_bounds(weights, least, above, room):
    leaves, most = least + above, least + above + room
    shares = shared(leaves * len(weights), weights, least, most)
    assert sum(shares) == leaves * len(weights)
    assert all(least <= share <= most for share in shares)
    inside = [(share, weight) for share, weight in zip(shares, weights, strict=True) if least < share < most]
    for (one, a), (other, b) in product(inside, repeat=2):
        # One proportion for all that are not at a bound, but for rounding by one leaf.
        assert (one - 1) / a <= (other + 1) / b * (1 + 1e-9)
    for share, weight in zip(shares, weights, strict=True):
        if share == least:
            assert all((other - 1) / b * weight <= least + 1 + 1e-9 for other, b in inside)
        if share == most:
            assert all((other + 1) / b * weight >= most - 1 - 1e-9 for other, b in inside)


@given(st.lists(st.sampled_from([0.1, 0.3, 0.5]), min_size=2, max_size=4), st.integers(2, 6))
def test_no_other_sharing_knows_the_mean_over_tasks_much_better(deviations, leaves):
    def variance(shares):
        return sum(deviation**2 / share for deviation, share in zip(deviations, shares, strict=True))

    total = leaves * len(deviations)
    best = min(variance(other) for other in product(range(2, total), repeat=len(deviations)) if sum(other) == total)
    # Whole leaves by largest remainder may miss the best whole ones by a little.
    assert variance(shared(total, deviations, 2, total)) <= best * 1.1


@pytest.mark.parametrize(
    ("params", "sentence"),
    [({"least": 17}, "least 17 is above leaves 16"), ({"most": 15}, "most 15 is below"), ({"prior": 0}, "prior is 0")],
)
def test_bounds_that_cannot_hold_the_total_are_refused(params, sentence):
    with pytest.raises(InvalidInput, match=f"allocate policy 'neyman': {sentence}"):
        allocated([(1, 2, 3)], **params)
