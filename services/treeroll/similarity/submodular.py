"""A subset that is good and stands for all: greedy choice by a submodular function."""

import math
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from treeroll.similarity.embedder import Features, cosines


def diverse(
    keep: int, scores: Sequence[float], sets: Sequence[Features], weight: float, chosen: Sequence[int] = ()
) -> list[int]:
    """Choose as `covering` does, items being as alike as the cosines of their sets of features say."""
    return covering(keep, scores, _alike(sets), weight, chosen)


def covering(
    keep: int, scores: Sequence[float], alike: Sequence[Sequence[float]], weight: float, chosen: Sequence[int] = ()
) -> list[int]:
    """Indices of up to `keep` items, those `chosen` before first, then in the order of choice.

    `alike` says of each pair of items how alike they are, 0 or more. Each choice raises F(S) = sum of the scores in S +
    weight * sum over all items of how much they are like the one in S that they are most like, by as much as any could:
    facility location. F is submodular, and monotone if no score is negative: then the greedy subset has 1 - 1/e of the
    highest value at least.

    From Submodular RL (arXiv 2307.13372), whose code was skimmed, is the kind of function and the greedy choice by
    marginal gain; its training is not here. Ours: this F; gains are recomputed only when they may be the highest, as
    they never rise; of equal gains the earlier item's comes first.
    """
    covered = [0.0] * len(alike)
    taken: list[int] = []
    for item in chosen[:keep]:
        taken.append(item)
        covered = [max(now, more) for now, more in zip(covered, alike[item], strict=True)]
    # Gains of which nothing is known yet are taken to be endless, and so come up first.
    first = set(taken)
    heap = [(-math.inf, item) for item in range(len(alike)) if item not in first]
    heapify(heap)
    fresh: set[int] = set()
    while heap and len(taken) < keep:
        _, item = heappop(heap)
        if item not in fresh:
            gain = math.fsum(max(0.0, more - now) for now, more in zip(covered, alike[item], strict=True))
            heappush(heap, (-(scores[item] + weight * gain), item))
            fresh.add(item)
            continue
        taken.append(item)
        fresh.clear()
        covered = [max(now, more) for now, more in zip(covered, alike[item], strict=True)]
    return taken


def _alike(sets: Sequence[Features]) -> list[list[float]]:
    """Cosines of all pairs."""
    alike = [[1.0] * len(sets) for _ in sets]
    for one, row in enumerate(cosines(sets)):
        for other, cosine in enumerate(row, one + 1):
            alike[one][other] = alike[other][one] = cosine
    return alike
