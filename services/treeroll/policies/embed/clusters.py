"""Clusters of vectors by average linkage."""

from collections.abc import Sequence

from treeroll.policies.embed.base import Vector
from treeroll.policies.embed.pairs import dot, similar


def average_linkage(vectors: Sequence[Vector], sizes: Sequence[int], distance: float) -> list[int]:
    """A label for each unit vector, 0 and up: the two clusters nearest to each other merge while that is near enough.

    The distance of two clusters is the mean of 1 - cosine over their pairs; `sizes` say how often each vector counts.
    Of equal distances the first pair in order merges first. Clusters never reach beyond what is linked by pairs within
    `distance`, so only such groups are looked at as a whole.
    """
    joined = list(range(len(vectors)))
    for one, other, _ in similar(vectors, 1 - distance):
        joined[_root(joined, other)] = _root(joined, one)
    groups: dict[int, list[int]] = {}
    for number in range(len(vectors)):
        groups.setdefault(_root(joined, number), []).append(number)
    labels, found = [0] * len(vectors), 0
    for group in groups.values():
        for cluster in _merge([vectors[i] for i in group], [sizes[i] for i in group], distance):
            for place in cluster:
                labels[group[place]] = found
            found += 1
    return labels


def _root(joined: list[int], number: int) -> int:
    while joined[number] != number:
        joined[number] = joined[joined[number]]
        number = joined[number]
    return number


def _merge(vectors: Sequence[Vector], sizes: Sequence[int], distance: float) -> list[list[int]]:
    """Clusters of one linked group."""
    members = {place: [place] for place in range(len(vectors))}
    weights = dict(enumerate(sizes))
    far = {one: {other: 1 - dot(vectors[one], vectors[other]) for other in members if other != one} for one in members}
    nearest = {one: min(row, key=row.__getitem__) for one, row in far.items() if row}
    while nearest:
        one = min(nearest, key=lambda one: (far[one][nearest[one]], one))
        other = nearest[one]
        if far[one][other] > distance:
            break
        _join(far, weights, one, other)
        members[one] += members.pop(other)
        del nearest[other]
        for place, row in far.items():
            if not row:
                nearest.clear()
            elif place == one or nearest[place] in (one, other):
                nearest[place] = min(row, key=row.__getitem__)
            elif row[one] < row[nearest[place]]:
                nearest[place] = one
    return list(members.values())


def _join(far: dict[int, dict[int, float]], weights: dict[int, int], one: int, other: int) -> None:
    """`one` takes `other` in: distances to both become their mean by weight."""
    a, b = weights[one], weights.pop(other)
    gone = far.pop(other)
    del far[one][other]
    for place, row in far.items():
        if place != one:
            del row[other]
            row[one] = far[one][place] = (a * row[one] + b * gone[place]) / (a + b)
    weights[one] = a + b
