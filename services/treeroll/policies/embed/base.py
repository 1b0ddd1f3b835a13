"""What an embedder is: text in, vector out."""

import math
from collections.abc import Sequence
from typing import Protocol


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

    def embed(self, text: str) -> Sequence[float]:
        """Finite numbers, as many for every text."""
        ...


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Cosine of the angle between two vectors, exactly 1 for equal ones; 0 if either is zero."""
    # The root of the product, not the product of the roots: that rounds to the norm itself where vectors are equal.
    norms = math.sqrt(_dot(one, one) * _dot(other, other))
    return _dot(one, other) / norms if norms else 0.0


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))
