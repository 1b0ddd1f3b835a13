"""Pairs and clusters of vectors, against looking at all of them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.policies.embed.base import cosine
from treeroll.policies.embed.clusters import average_linkage
from treeroll.policies.embed.pairs import dot, similar, units

VECTORS = st.lists(st.dictionaries(st.integers(0, 9), st.integers(1, 5), max_size=6), min_size=1, max_size=12)
SIGNED = st.lists(st.dictionaries(st.integers(0, 5), st.floats(-1, 1), max_size=6), min_size=1, max_size=12)


@given(VECTORS | SIGNED, st.sampled_from([-1.0, 0.0, 0.3, 0.9, 0.999]))
def test_no_similar_pair_is_passed_over(vectors, least):
    vectors = units(vectors)
    pairs = [(i, j) for j in range(len(vectors)) for i in range(j)]
    expected = {pair: dot(vectors[pair[0]], vectors[pair[1]]) for pair in pairs}
    found = similar(vectors, least)
    assert {(i, j): value for i, j, value in found} == {k: value for k, value in expected.items() if value >= least}
    assert len(found) == len({pair[:2] for pair in found})


@given(VECTORS)
def test_the_product_of_units_is_the_cosine(vectors):
    one, other = vectors[0], vectors[-1]
    assert dot(units([one])[0], units([other])[0]) == pytest.approx(cosine(one, other))


def by_definition(vectors, sizes, distance):
    """Merge the nearest two clusters, all distances counted anew each time."""
    clusters = [[i] for i in range(len(vectors))]

    def far(a, b):
        weights = [(sizes[i] * sizes[j], 1 - dot(vectors[i], vectors[j])) for i in a for j in b]
        return sum(w * d for w, d in weights) / sum(w for w, _ in weights)

    while len(clusters) > 1:
        pairs = [(far(a, b), i, j) for j, b in enumerate(clusters) for i, a in enumerate(clusters[:j])]
        nearest, i, j = min(pairs)
        if nearest > distance:
            break
        clusters[i] += clusters.pop(j)
    return {frozenset(cluster) for cluster in clusters}


@pytest.mark.parametrize("distance", [0.0, 0.05, 0.3, 0.7])
@pytest.mark.parametrize("seed", range(12))
def test_clusters_are_those_of_average_linkage(distance, seed):
    # No two distances are equal, so there is one right answer.
    rng = random.Random(seed)
    vectors = units([{place: rng.random() ** 3 for place in range(4)} for _ in range(14)])
    sizes = [rng.randint(1, 3) for _ in vectors]
    labels = average_linkage(vectors, sizes, distance)
    found = {frozenset(i for i, label in enumerate(labels) if label == each) for each in labels}
    assert found == by_definition(vectors, sizes, distance)
    assert sorted(set(labels)) == list(range(len(found)))


def test_a_chain_of_like_steps_is_no_cluster():
    # Each is near the next one; the ends are far apart, and the mean distance counts.
    chain = units([{0: 1.0}, {0: 1.0, 1: 0.35}, {0: 1.0, 1: 0.8}])
    assert average_linkage(chain, [1, 1, 1], 0.07) == [0, 0, 1]


def test_empty_texts_are_like_nothing():
    assert average_linkage(units([{}, {0: 1}, {}]), [1, 1, 1], 0.05) == [0, 1, 2]
