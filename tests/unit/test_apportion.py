"""Integer apportionment: exact, conserved, deterministic."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.errors import InvalidInput
from treeroll.tree.apportion import apportion, even, rounded_up, softmax

weights_lists = st.lists(st.floats(0, 1e300, allow_subnormal=True), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("total", "weights", "minimum", "shares"),
    [
        (10, [1, 1, 1], 0, [4, 3, 3]),  # equal remainders: the earlier item
        (10, [5, 3, 2], 0, [5, 3, 2]),
        (7, [0.5, 0.3, 0.2], 0, [4, 2, 1]),  # 3.5 2.1 1.4
        (8, [7, 2, 1], 1, [5, 2, 1]),  # 1 each, then 3.5 1.0 0.5 of 5: the tie goes to the first
        (5, [0, 0], 0, [3, 2]),  # no weight at all: all equal
        (5, [0, 1], 1, [1, 4]),
        (0, [1, 2], 0, [0, 0]),
        (0, [], 0, []),
    ],
)
def test_largest_remainder(total, weights, minimum, shares):
    assert apportion(total, weights, minimum) == shares


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (16, [9.2, 4.1, 1.5, 0.7, 0.3, 0.2], [10, 4, 2, 0, 0, 0]),  # by largest remainder 9, 4, 2, 1, 0, 0
        (16, [0.2, 0.7, 9.2, 0.3, 4.1, 1.5], [0, 0, 10, 0, 4, 2]),  # whatever their places
        (4, [1, 1, 1], [2, 1, 1]),  # equal weights: the earlier item
        (5, [0, 0], [3, 2]),
        (3, [0, 1e-300], [0, 3]),
        (0, [1, 2], [0, 0]),
        (0, [], []),
    ],
)
def test_rounding_up_from_the_heaviest_down(total, weights, shares):
    assert rounded_up(total, weights) == shares


@given(st.integers(0, 10_000), weights_lists)
def test_rounding_up_is_that_of_exact_fractions_and_arrives_at_the_total(total, weights):
    shares = rounded_up(total, weights)
    left, rest = total, sum(map(Fraction, weights)) or Fraction(len(weights))
    for item in sorted(range(len(weights)), key=lambda item: (-weights[item], item)):
        weight = Fraction(weights[item]) if any(weights) else Fraction(1)
        share = math.ceil(left * weight / rest) if left else 0
        assert shares[item] == share
        left, rest = left - share, rest - weight
    assert sum(shares) == total
    assert min(shares) >= 0


def test_the_two_roundings_differ_for_most_levels_of_a_search():
    # What docs/algorithms-growth.md says of 16 leaves over 16 paths with scores spread evenly, at REBASE's T.
    chance, different, moved = random.Random(1), 0, 0
    for _ in range(2000):
        weights = softmax([chance.random() for _ in range(16)], 0.2)
        gap = sum(abs(a - b) for a, b in zip(apportion(16, weights), rounded_up(16, weights), strict=True))
        different += gap > 0
        moved += gap // 2
    assert different / 2000 == pytest.approx(0.85, abs=0.01)
    assert moved / 2000 == pytest.approx(1.1, abs=0.05)


@pytest.mark.parametrize("weights", [[-1.0, 2.0], [math.nan], [math.inf]])
def test_rounding_up_refuses_what_is_no_weight(weights):
    with pytest.raises(InvalidInput, match="negative or not finite"):
        rounded_up(3, weights)


def test_what_a_capped_item_cannot_take_goes_to_the_others():
    assert apportion(10, [8, 1, 1], caps=[4, 10, 10]) == [4, 3, 3]
    assert apportion(10, [8, 1, 1], caps=[4, 3, 10]) == [4, 3, 3]
    assert apportion(10, [8, 1, 1], caps=[4, 2, 10]) == [4, 2, 4]
    assert apportion(6, [1, 0, 0], caps=[2, 9, 9]) == [2, 2, 2]


@given(st.integers(0, 10_000), weights_lists, st.integers(0, 3))
def test_the_total_is_conserved_and_everybody_gets_the_minimum(total, weights, minimum):
    total += minimum * len(weights)
    shares = apportion(total, weights, minimum)
    assert sum(shares) == total
    assert min(shares) >= minimum


@given(st.integers(0, 1000), weights_lists, st.data())
def test_caps_hold_and_the_total_is_conserved(total, weights, data):
    caps = [data.draw(st.integers(0, 2000)) for _ in weights]
    total = min(total, sum(caps))
    shares = apportion(total, weights, caps=caps)
    assert sum(shares) == total
    assert all(share <= cap for share, cap in zip(shares, caps, strict=True))


@given(st.integers(0, 1000), weights_lists)
def test_nobody_is_a_whole_unit_away_from_their_share(total, weights):
    if not any(weights):
        weights = [1.0] * len(weights)
    whole = sum(map(Fraction, weights))
    for share, weight in zip(apportion(total, weights), weights, strict=True):
        assert abs(share - total * Fraction(weight) / whole) < 1


@pytest.mark.parametrize(
    ("total", "weights", "options"),
    [
        (3, [1, -1], {}),
        (3, [1, math.nan], {}),
        (3, [1, math.inf], {}),
        (-1, [1, 1], {}),
        (1, [1, 1], {"minimum": 1}),
        (5, [1, 1], {"caps": [2, 2]}),
        (5, [1, 1], {"minimum": 2, "caps": [1, 9]}),
        (5, [1, 1], {"caps": [9]}),
        (1, [], {}),
    ],
)
def test_what_cannot_be_shared_is_refused(total, weights, options):
    with pytest.raises(InvalidInput, match="apportion"):
        apportion(total, weights, **options)


@given(st.integers(0, 1000), st.integers(1, 50))
def test_even_parts_are_equal_weights(total, n):
    assert even(total, n) == apportion(total, [1.0] * n)


def test_softmax_follows_the_temperature():
    assert softmax([0.0, math.log(3)]) == pytest.approx([0.25, 0.75])
    assert softmax([0.0, math.log(9)], temperature=2) == pytest.approx([0.25, 0.75])
    assert softmax([]) == []


@pytest.mark.parametrize(
    ("scores", "weights"),
    [
        ([1e308, -1e308], [1, 0]),
        ([-1e6, -1e6], [0.5, 0.5]),
        ([-math.inf, 0.0], [0, 1]),
        ([-math.inf, -math.inf], [0.5, 0.5]),
        ([math.inf, 0.0, math.inf], [0.5, 0, 0.5]),
        ([math.nan, 0.0], [0, 1]),
    ],
)
def test_softmax_is_safe_for_any_scores(scores, weights):
    assert softmax(scores) == pytest.approx(weights)
