"""Clusters of sets, against looking at all of them."""

import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.similarity.clusters import average_linkage
from treeroll.similarity.embedder import cosine, cosines

SETS = st.lists(st.integers(1, 2**12 - 1), min_size=1, max_size=12)


def by_definition(sets, sizes, distance):
    """Merge the nearest two clusters, all distances counted anew each time."""
    clusters = [[i] for i in range(len(sets))]

    def far(a, b):
        weights = [(sizes[i] * sizes[j], 1 - cosine(sets[i], sets[j])) for i in a for j in b]
        return sum(w * d for w, d in weights) / sum(w for w, _ in weights)

    while len(clusters) > 1:
        nearest, i, j = min((far(clusters[i], clusters[j]), i, j) for i, j in combinations(range(len(clusters)), 2))
        if nearest > distance:
            break
        clusters[i] += clusters.pop(j)
    return {frozenset(cluster) for cluster in clusters}


def clusters_of(sets, sizes, distance):
    labels = average_linkage(sets, sizes, distance)
    found = {frozenset(i for i, label in enumerate(labels) if label == each) for each in labels}
    assert sorted(set(labels)) == list(range(len(found)))
    return found


@given(SETS)
def test_all_pairs_are_compared_as_single_ones_are(sets):
    rows = list(cosines(sets))
    assert [len(row) for row in rows] == list(range(len(sets) - 1, -1, -1))
    for i, j in combinations(range(len(sets)), 2):
        assert rows[i][j - i - 1] == cosine(sets[i], sets[j]) == cosine(sets[j], sets[i])


@pytest.mark.parametrize("distance", [0.0, 0.05, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("seed", range(12))
def test_clusters_are_those_of_average_linkage(distance, seed):
    # Large sets, a common core and sizes that differ: hardly two distances are equal, so there is one right answer.
    rng = random.Random(seed)
    core = rng.getrandbits(997)
    sets = [
        core ^ (rng.getrandbits(997) & rng.getrandbits(997) & -rng.randint(0, 1) << rng.randrange(900))
        for _ in range(20)
    ]
    sizes = [rng.randint(1, 3) for _ in sets]
    assert clusters_of(sets, sizes, distance) == by_definition(sets, sizes, distance)


def test_a_chain_of_like_steps_is_no_cluster():
    # Each shares four of five with the next one; the ends share three, and the mean distance counts.
    chain = [0b0011111, 0b0111110, 0b1111100]
    assert average_linkage(chain, [1, 1, 1], 0.25) == [0, 0, 1]
    assert average_linkage(chain, [1, 1, 1], 0.3) == [0, 0, 0]
    # Three of the first pull the mean of the pair towards it.
    assert average_linkage(chain, [3, 1, 1], 0.3) == [0, 0, 1]


def test_of_equal_distances_the_first_pair_merges_first():
    ring = [0b00011, 0b00110, 0b01100, 0b11000, 0b10001]
    assert average_linkage(ring, [1] * 5, 0.5) == [0, 0, 1, 1, 2]
