"""What an embedder is: text in, vector out."""

import math
from collections.abc import Mapping
from typing import Protocol

# Coordinates that are not zero, by their place.
Vector = Mapping[int, float]


class Embedder(Protocol):
    """Turns texts into vectors whose cosine says how alike the texts are.

    Pure: the same text gets the same vector, on any machine, at any time. Trees depend on it.
    """

    @property
    def name(self) -> str:
        """Registered name."""
        ...

    @property
    def summary(self) -> str:
        """One line, for people."""
        ...

    def embed(self, text: str) -> Vector:
        """The text's vector, of finite numbers."""
        ...


def cosine(one: Vector, other: Vector) -> float:
    """Cosine of the angle between two vectors, exactly 1 for equal ones; 0 if either is zero."""
    # The root of the product, not the product of the roots: that rounds to the norm itself where vectors are equal.
    norms = math.sqrt(_dot(one, one) * _dot(other, other))
    return _dot(one, other) / norms if norms else 0.0


def _dot(one: Vector, other: Vector) -> float:
    return math.fsum(value * other.get(place, 0.0) for place, value in one.items())
