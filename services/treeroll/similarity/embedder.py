"""What an embedder is: text in, set of features out."""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

# A set as a whole number: bit i is one if the text has feature i. One operation of C then compares two sets, whatever
# their size, and that of all pairs of a level is what policies wait for.
Features = int


class Embedder(Protocol):
    """Turns texts into sets of features whose cosine says how alike the texts are.

    Pure: the same text gets the same set, on any machine, at any time. Trees depend on it.
    """

    @property
    def name(self) -> str:
        """Registered name."""
        ...

    @property
    def summary(self) -> str:
        """One line, for people."""
        ...

    def embed(self, text: str) -> Features:
        """The text's features, one or more, none of a very high number: a set takes as many bits."""
        ...


def cosine(one: Features, other: Features) -> float:
    """Cosine of two sets as vectors of zeros and ones: |both| / sqrt(|one| |other|). Exactly 1 for equal ones."""
    return (one & other).bit_count() / math.sqrt(one.bit_count() * other.bit_count())


def cosines(sets: Sequence[Features]) -> Iterator[list[float]]:
    """For each set in turn, its cosines with those that come after it."""
    sizes = [each.bit_count() for each in sets]
    for place, one in enumerate(sets):
        size, after = sizes[place], place + 1
        later = zip(sets[after:], sizes[after:], strict=True)
        yield [(one & other).bit_count() / math.sqrt(size * number) for other, number in later]
