"""PETS online: how many samples a question that just came in gets, by how much its first ones agree."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from statistics import NormalDist
from typing import Final

from treeroll.errors import InvalidInput
from treeroll.policies.allocate.majority import majority_curve

# Curves are fitted to these numbers of samples.
FITTED: Final = range(3, 41)
CLIP: Final = 1e-12
NORMAL: Final = NormalDist()
# How often each answer occurs among the first samples, most frequent first.
Pattern = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Questions whose first samples agree alike.

    `mass`: their share. `slope`, `intercept`: P(majority of k samples is that of all) is about Phi(slope sqrt(k) +
    intercept). `budget`: samples of each, the first ones included.
    """

    mass: float
    slope: float
    intercept: float
    budget: int


class PETSOnline:
    """A budget for each pattern of agreement among the first samples, learned from questions sampled before.

    For each of those the probability that the majority of k samples is that of all is fitted, for k from 3 to 40, by
    A(k) = Phi(a sqrt(k) + b) with least squares in probit space. A pattern's curve is the mean of a and b, weighted by
    how likely each question shows it. Budgets start at `first`; one more sample goes to the pattern whose curve rises
    most, up to `cap`, while questions have no more than `average` samples on average.

    PETS, arXiv 2602.16745; patterns, curves, weights and the numbers 4, 16, 64 are those of its code. Ours: exact
    probabilities where it draws 20,000 or 2,000 samples; budgets never pass the average; a pattern that no question
    showed gets the average; `coarse` is its two patterns for free answers, unanimous or not.
    """

    def __init__(self, average: float = 16, first: int = 4, cap: int = 64, coarse: bool = False) -> None:
        if not 1 <= first <= average <= cap:
            raise InvalidInput(f"PETS: first {first}, average {average} and cap {cap} must ascend from 1")
        self._average = average
        self._first = first
        self._cap = cap
        self._coarse = coarse
        self.buckets: Mapping[Pattern, Bucket] = {}

    def fit(self, pools: Sequence[Sequence[str]]) -> None:
        """Learn budgets from questions' sampled answers, `first` or more of each.

        Raises:
            InvalidInput: a pool is too small.
        """
        mass: dict[Pattern, float] = defaultdict(float)
        slopes: dict[Pattern, float] = defaultdict(float)
        intercepts: dict[Pattern, float] = defaultdict(float)
        for number, pool in enumerate(pools):
            if len(pool) < self._first:
                raise InvalidInput(f"PETS: pool {number} has {len(pool)} answers; it must have {self._first} or more")
            slope, intercept = fitted(pool)
            for pattern, chance in self._patterns(pool).items():
                mass[pattern] += chance / len(pools)
                slopes[pattern] += slope * chance / len(pools)
                intercepts[pattern] += intercept * chance / len(pools)
        curves = {
            pattern: Bucket(share, slopes[pattern] / share, intercepts[pattern] / share, self._first)
            for pattern, share in sorted(mass.items())
        }
        self.buckets = self._budgeted(curves)

    def budget_of(self, first: Sequence[str]) -> int:
        """Samples of a question in all, by its first ones."""
        bucket = self.buckets.get(self._named(tuple(sorted(Counter(first).values(), reverse=True))))
        return bucket.budget if bucket else int(self._average)

    def _patterns(self, pool: Sequence[str]) -> Mapping[Pattern, float]:
        found: dict[Pattern, float] = defaultdict(float)
        for pattern, chance in patterns(pool, self._first).items():
            found[self._named(pattern)] += chance
        return found

    def _named(self, pattern: Pattern) -> Pattern:
        return (pattern if len(pattern) == 1 else ()) if self._coarse else pattern

    def _budgeted(self, curves: Mapping[Pattern, Bucket]) -> dict[Pattern, Bucket]:
        budgets = dict.fromkeys(curves, self._first)
        spent = float(self._first)
        heap = [(-_rise(curve, self._first), pattern) for pattern, curve in curves.items()]
        heapify(heap)
        while heap:
            rise, pattern = heappop(heap)
            mass = curves[pattern].mass
            if rise >= 0 or spent + mass > self._average + 1e-9 or budgets[pattern] == self._cap:
                continue
            budgets[pattern] += 1
            spent += mass
            heappush(heap, (-_rise(curves[pattern], budgets[pattern]), pattern))
        return {
            pattern: Bucket(curve.mass, curve.slope, curve.intercept, budgets[pattern])
            for pattern, curve in curves.items()
        }


def patterns(pool: Sequence[str], first: int) -> dict[Pattern, float]:
    """How likely each pattern is that of `first` answers drawn from the pool without replacement."""
    ways: Counter[Pattern] = Counter({(): 1})
    for count in Counter(pool).values():
        added: Counter[Pattern] = Counter()
        for pattern, number in ways.items():
            for taken in range(min(count, first - sum(pattern)) + 1):
                longer = tuple(sorted((*pattern, taken), reverse=True)) if taken else pattern
                added[longer] += number * math.comb(count, taken)
        ways = added
    total = math.comb(len(pool), first)
    return {pattern: number / total for pattern, number in sorted(ways.items()) if sum(pattern) == first}


def fitted(pool: Sequence[str]) -> tuple[float, float]:
    """Slope and intercept of the curve of a pool's majority; of equal answers the first is taken to be that of all."""
    counts = [count for _, count in Counter(pool).most_common()]
    curve = majority_curve([count / len(pool) for count in counts], FITTED[-1])
    roots = [math.sqrt(samples) for samples in FITTED]
    probits = [NORMAL.inv_cdf(min(1 - CLIP, max(CLIP, curve[samples - 1]))) for samples in FITTED]
    middle, level = math.fsum(roots) / len(roots), math.fsum(probits) / len(probits)
    along = math.fsum((root - middle) * (probit - level) for root, probit in zip(roots, probits, strict=True))
    slope = along / math.fsum((root - middle) ** 2 for root in roots)
    return slope, level - slope * middle


def _rise(bucket: Bucket, samples: int) -> float:
    """A(samples + 1) - A(samples), exact also where both are nearly 1."""
    now, then = (bucket.slope * math.sqrt(count) + bucket.intercept for count in (samples, samples + 1))
    return (math.erfc(now / math.sqrt(2)) - math.erfc(then / math.sqrt(2))) / 2
