"""Clusters of sets by average linkage."""

import math
from collections.abc import Sequence

from treeroll.similarity.embedder import Features, cosines


def average_linkage(sets: Sequence[Features], sizes: Sequence[int], distance: float) -> list[int]:
    """A label for each set, 0 and up: the two clusters nearest to each other merge while that is near enough.

    The distance of two clusters is the mean of 1 - cosine over their pairs; `sizes` say how often each set counts. Of
    equal distances the first pair in order merges first. Clusters never reach beyond what is linked by pairs within
    `distance`, so only such groups are looked at as a whole.
    """
    far = [[0.0] * len(sets) for _ in sets]
    joined = list(range(len(sets)))
    for one, row in enumerate(cosines(sets)):
        for other, cosine in enumerate(row, one + 1):
            far[one][other] = far[other][one] = apart = 1 - cosine
            if apart <= distance:
                joined[_root(joined, other)] = _root(joined, one)
    groups: dict[int, list[int]] = {}
    for number in range(len(sets)):
        groups.setdefault(_root(joined, number), []).append(number)
    labels = [0] * len(sets)
    clusters = (cluster for group in groups.values() for cluster in _merge(group, far, sizes, distance))
    for label, cluster in enumerate(clusters):
        for number in cluster:
            labels[number] = label
    return labels


def _root(joined: list[int], number: int) -> int:
    while joined[number] != number:
        joined[number] = joined[joined[number]]
        number = joined[number]
    return number


def _merge(
    group: Sequence[int], apart: Sequence[Sequence[float]], sizes: Sequence[int], distance: float
) -> list[list[int]]:
    """Clusters of one linked group."""
    members = [[number] for number in group]
    weights = [sizes[number] for number in group]
    far = [[math.inf if one == other else apart[one][other] for other in group] for one in group]
    least = [min(row) for row in far]  # from each to the nearest
    while (nearest := min(least)) <= distance:
        one = least.index(nearest)
        other = far[one].index(nearest)
        _join(far, least, one, other, weights[other] / (weights[one] + weights[other]))
        weights[one] += weights.pop(other)
        members[one] += members.pop(other)
    return members


def _join(far: list[list[float]], least: list[float], one: int, other: int, share: float) -> None:
    """`one` takes `other` in, as `share` of both: distances become the mean of those to the two."""
    before = list(map(min, far[one], far[other]))
    # Equal distances stay exactly what they are, so that what was nearest for many is not sought again for each.
    merged = [near + (apart - near) * share for near, apart in zip(far[one], far[other], strict=True)]
    merged[one] = math.inf
    for gone in (far, least, before, merged):
        del gone[other]
    for row, apart in zip(far, merged, strict=True):
        row[one] = apart
        del row[other]
    far[one], least[one] = merged, min(merged)
    for place, now in enumerate(least):
        if before[place] <= now < merged[place]:
            least[place] = min(far[place])
