"""Means and deviations that are exact where all values are equal, and do not depend on the order of values."""

import math
from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; exactly the common value where all are equal, and 0 of no values."""
    if len(set(values)) <= 1:
        return values[0] if values else 0.0
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float], ddof: int = 0) -> float:
    """Standard deviation; `ddof` 1 for that of a sample. Exactly 0 for equal values, and for fewer than two."""
    if len(values) < 2:
        return 0.0
    center = mean(values)
    return math.sqrt(math.fsum((value - center) ** 2 for value in values) / (len(values) - ddof))


def others_gap(values: Sequence[float]) -> list[float]:
    """Each value minus the mean of the others (leave-one-out); 0 for a value without others."""
    if len(values) < 2:
        return [0.0] * len(values)
    center, factor = mean(values), len(values) / (len(values) - 1)
    return [factor * (value - center) for value in values]
