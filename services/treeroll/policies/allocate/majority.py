"""How likely the most frequent answer of some samples is the most frequent one of all."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

Polynomial = list[float]  # by power

# Of an integral over the root of a Gamma variable, whose deviation is at most about a half: within 1e-7.
STEP: Final = 0.1
REACH: Final = 6.0


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


def leader_chance(counts: Sequence[int]) -> float:
    """P(the answer seen most often, or one of those, is the most frequent of all), after so many samples of each.

    The shares of the answers seen and of one that was not have a Dirichlet posterior that begins with 1 for each: PETS'
    h, where it does not know how many answers there are. Exact, in place of its draws: shares are in proportion to
    Gamma variables, and that of the leader has density f and the others distributions F, so it is the integral of
    f(x) times the product of F(x).
    """
    lead = 1 + max(counts)
    others = Counter(1 + count for count in counts)
    others[1] += 1  # not yet seen
    others[lead] -= 1
    middle = math.sqrt(lead)
    first, last = max(1, math.ceil((middle - REACH) / STEP)), math.floor((middle + REACH) / STEP)
    return STEP * math.fsum(_density(lead, place * STEP, +others) for place in range(first, last + 1))


def leader_gain(counts: Sequence[int]) -> float:
    """The rise of `leader_chance` by the best next answer.

    That is the leader's: another one draws level at best. Hence it is above 0, and halves with each more of equal ones.
    """
    place = max(range(len(counts)), key=counts.__getitem__)
    after = [count + (number == place) for number, count in enumerate(counts)]
    return leader_chance(after) - leader_chance(counts)


def _density(lead: int, root: float, others: Counter[int]) -> float:
    """The density of the leader's variable at root^2, in terms of the root, with all `others` (by shape) below."""
    value = root * root
    found = 2 * root * math.exp((lead - 1) * math.log(value) - value - math.lgamma(lead))
    term = above = math.exp(-value)
    for shape in range(1, max(others) + 1):
        if shape in others:
            found *= max(0.0, 1 - above) ** others[shape]
        term *= value / shape
        above += term
    return found
