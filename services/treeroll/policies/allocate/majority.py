"""How likely the most frequent answer of some samples is the most frequent one of all."""

import math
from collections.abc import Sequence

Polynomial = list[float]  # by power


def majority_curve(shares: Sequence[float], samples: int) -> list[float]:
    """P(the first answer is the most frequent of k samples) for k = 1 .. `samples`; ties are split evenly.

    `shares` are the answers' probabilities, which sum to 1. Exact, in place of the thousands of draws that the releases
    take where there are many answers: over the count n of the first answer, the generating function of the others, none
    of which has more than n samples.
    """
    first, others = shares[0], [share for share in shares[1:] if share > 0]
    found = [0.0] * (samples + 1)
    for count in range(1, samples + 1):
        rest = _others(others, count, samples - count)
        for more, weight in enumerate(rest):
            found[count + more] += first**count / math.factorial(count) * weight * math.factorial(count + more)
    return [min(1.0, chance) for chance in found[1:]]


def _others(shares: Sequence[float], count: int, degree: int) -> Polynomial:
    """Sum over the others' samples, none above `count`, of product of share^n / n!, by their number.

    A term in which t of them tie at `count` is divided by t + 1.
    """
    if degree < count:
        whole = math.fsum(shares)
        return [whole**power / math.factorial(power) for power in range(degree + 1)]
    ties = [[1.0]]
    for share in shares:
        terms = [share**power / math.factorial(power) for power in range(count + 1)]
        ties = _times(ties, terms[:-1], terms[-1], count, degree)
    found = [0.0] * (degree + 1)
    for tied, polynomial in enumerate(ties):
        for power, weight in enumerate(polynomial):
            found[power] += weight / (tied + 1)
    return found


def _times(ties: list[Polynomial], below: Polynomial, at: float, count: int, degree: int) -> list[Polynomial]:
    """Polynomials by number of ties, after one more answer: below `count`, or at it and tied."""
    most = min(len(ties), degree // count)
    found = [[0.0] * (degree + 1) for _ in range(most + 1)]
    for tied, polynomial in enumerate(ties):
        for power, weight in enumerate(polynomial):
            if weight:
                into = found[tied]
                for more, term in enumerate(below[: degree + 1 - power]):
                    into[power + more] += weight * term
                if power + count <= degree:
                    found[tied + 1][power + count] += weight * at
    return found
