"""Which of many vectors are alike, without looking at most pairs."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from treeroll.policies.embed.base import Vector

# Room for rounding where pairs are passed over.
SLACK = 1e-9


def units(vectors: Sequence[Vector]) -> list[dict[int, float]]:
    """The vectors at length 1; one of zeros stays as it is."""
    found = []
    for vector in vectors:
        norm = math.sqrt(math.fsum(value * value for value in vector.values()))
        found.append({place: value / norm for place, value in vector.items()} if norm else {})
    return found


def dot(one: Vector, other: Vector) -> float:
    """Product of two vectors; their cosine, if they are units."""
    if len(other) < len(one):
        one, other = other, one
    return sum([value * other[place] for place, value in one.items() if place in other])


def similar(vectors: Sequence[Vector], least: float) -> list[tuple[int, int, float]]:
    """All pairs of units (i < j) whose cosine is `least` or more, and that cosine. Exact, whatever the vectors.

    By prefix filtering: with places in order of rarity, a pair shares its rarest common place among those of each that
    come before the rest of it has a norm below `least`, because what follows cannot make up the product.
    """
    count = Counter(place for vector in vectors for place in vector)
    begun: dict[int, list[int]] = defaultdict(list)  # place -> vectors that have it in their prefix
    pairs = []
    for number, vector in enumerate(vectors):
        candidates = set(range(number)) if least <= 0 else set()
        for place in _prefix(vector, count, least):
            candidates.update(begun[place])
            begun[place].append(number)
        for other in sorted(candidates):
            cosine = dot(vectors[other], vector)
            if cosine >= least:
                pairs.append((other, number, cosine))
    return pairs


def _prefix(vector: Vector, count: Counter[int], least: float) -> list[int]:
    """The rarest places, until the rest is too short to matter."""
    places, rest = [], 1.0
    for place in sorted(vector, key=lambda place: (count[place], place)):
        if rest < least * least - SLACK:
            break
        places.append(place)
        rest -= vector[place] * vector[place]
    return places
