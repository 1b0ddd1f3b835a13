"""Greedy choice by a submodular function: lazy is exact, and good is near best."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treeroll.similarity.embedder import cosine
from treeroll.similarity.submodular import diverse

sets = st.integers(1, 63)
instances = st.lists(st.tuples(st.integers(0, 8), sets), min_size=1, max_size=7)


def worth(subset, scores, made, weight):
    alike = (max((cosine(one, made[item]) for item in subset), default=0.0) for one in made)
    return math.fsum(scores[item] for item in subset) + weight * math.fsum(alike)


@given(instances, st.integers(0, 8), st.sampled_from([0.0, 0.5, 4.0]))
@settings(max_examples=60)
def test_each_choice_gains_as_much_as_any(items, keep, weight):
    scores, made = [score for score, _ in items], [features for _, features in items]
    taken = diverse(keep, scores, made, weight)
    assert len(set(taken)) == len(taken) == min(keep, len(items))
    for count, item in enumerate(taken):
        before = taken[:count]
        gains = [worth([*before, other], scores, made, weight) for other in range(len(items)) if other not in before]
        assert worth([*before, item], scores, made, weight) == pytest.approx(max(gains))


@given(instances, st.integers(1, 4))
@settings(max_examples=60)
def test_the_subset_is_worth_all_but_a_share_of_the_best(items, keep):
    scores, made = [score for score, _ in items], [features for _, features in items]
    subsets = itertools.combinations(range(len(items)), min(keep, len(items)))
    best = max(worth(subset, scores, made, 2.0) for subset in subsets)
    assert worth(diverse(keep, scores, made, 2.0), scores, made, 2.0) >= (1 - 1 / math.e) * best - 1e-9


def test_one_of_each_kind_comes_before_a_second_of_any():
    made = [0b001, 0b001, 0b001, 0b010, 0b100]
    assert diverse(3, [0.0] * 5, made, 1.0) == [0, 3, 4]
    assert diverse(3, [0.0] * 5, made, 1.0, chosen=[4]) == [4, 0, 3]
    assert diverse(3, [0.0, 0.0, 5.0, 0.0, 0.0], made, 1.0) == [2, 3, 4]
    assert diverse(2, [1.0, 2.0, 3.0, 4.0, 5.0], made, 0.0) == [4, 3]


def test_what_was_chosen_before_stays_and_counts():
    made = [0b001, 0b010, 0b100]
    assert diverse(1, [0.0] * 3, made, 1.0, chosen=[2, 1]) == [2]
    assert diverse(0, [0.0] * 3, made, 1.0) == []
    assert diverse(5, [], [], 1.0) == []
