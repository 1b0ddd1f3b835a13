"""Signals of sampled tokens, against their definitions."""

import math
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.policies.signals import confidences, falls, means, rises, streaks

VALUES = st.lists(st.floats(0, 12, width=16), max_size=20)
WINDOWS = st.integers(1, 6)


@given(VALUES, WINDOWS)
def test_means_are_of_windows_that_end_with_each_value_and_reach_back_to_the_first(values, window):
    found = means(values, window)
    assert len(found) == len(values)
    for at, mean in enumerate(found):
        assert mean == pytest.approx(fmean(values[max(0, at + 1 - window) : at + 1]))


@given(VALUES, WINDOWS)
def test_rises_compare_each_value_with_the_window_before_it(values, window):
    found = rises(values, window)
    assert len(found) == len(values)
    for at, rise in enumerate(found):
        before = values[max(0, at - window) : at]
        assert rise == pytest.approx(values[at] - fmean(before) if before else 0.0)


@given(st.lists(st.integers(0, 9), max_size=20), WINDOWS)
def test_falls_are_of_the_mean_of_the_window(values, window):
    found = falls(values, window)
    assert len(found) == len(values)
    for at, fallen in enumerate(found):
        now, last = values[max(0, at + 1 - window) : at + 1], values[max(0, at - window) : at]
        # Whole numbers, so that means compare exactly as products do.
        assert fallen == (at > 0 and sum(now) * len(last) < sum(last) * len(now))


def test_streaks_count_how_often_in_a_row_something_held():
    assert streaks([True, False, True, True, True, False]) == [1, 0, 1, 2, 3, 0]
    assert streaks([]) == []


def test_confidence_is_the_probability_of_the_sampled_token():
    assert confidences([0.0, math.log(0.25)]) == [1.0, pytest.approx(0.25)]


def test_the_released_confidence_of_five_candidates_is_never_as_low_as_its_thresholds():
    @given(st.lists(st.floats(1e-6, 1), min_size=5, max_size=5))
    def check(weights):
        total = max(sum(weights), 1.0)
        assert -fmean(math.log(weight / total) for weight in weights) >= math.log(5) - 1e-9

    check()
