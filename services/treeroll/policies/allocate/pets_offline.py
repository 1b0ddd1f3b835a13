"""PETS offline: which of many known questions to sample next, so that most majorities are settled."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from treeroll.errors import InvalidInput
from treeroll.tree.rng import hash64

# How far a sample's confidence may make it count for less, or more, than one.
WEIGHTS: Final = (0.1, 10.0)


class PETSOffline:
    """Samples go to the question whose majority they may settle most: optimistic knowledge gradient.

    The shares of a question's answers have a Dirichlet posterior that begins with 1 for each answer. h is the
    probability of the likeliest answer to be the most frequent one of all. The gain of a question is the rise of h if
    the next sample were the answer that raises it most. After `warm_up` samples of each, the next sample goes where the
    gain is highest. An answer counts 1, or its confidence in units of the mean confidence so far.

    PETS, arXiv 2602.16745; the rule, one warm-up sample and 500 draws for h are those of its code. Ours: a fixed
    divisor of 16 is replaced by the running mean, and a missing confidence counts 1 (there 1/16), a weight lies within
    0.1 and 10; where the number of answers is not known, the answers seen and one not yet seen; draws are shared
    (a question's Gamma draws grow by the same exponential draws for whichever answer may come next), so only the
    question that was sampled is computed anew; of equal gains the question with fewer samples goes first.
    """

    def __init__(self, questions: int, seed: int, options: int = 0, warm_up: int = 1, draws: int = 500) -> None:
        """`options`: how many answers each question has; 0 if that is not known."""
        least = {"questions": (questions, 0), "options": (options, 0), "warm_up": (warm_up, 1), "draws": (draws, 1)}
        for name, (count, fewest) in least.items():
            if count < fewest:
                raise InvalidInput(f"PETS: {name} is {count}; it must be {fewest} or more")
        self._warm_up = warm_up
        self._confidences = (0.0, 0)  # sum and number
        self._questions = [_Question(hash64(seed, "pets", number), options, draws) for number in range(questions)]

    def next(self, count: int = 1) -> list[int]:
        """Up to `count` questions to sample once each, best first; [] when all are exhausted."""
        open_ = [number for number, question in enumerate(self._questions) if not question.exhausted]
        return sorted(open_, key=self._rank)[:count]

    def tell(self, question: int, answer: str, confidence: float | None = None) -> None:
        """A sample of a question gave an answer, in canonical form."""
        self._questions[question].add(answer, self._weight(confidence))

    def exhaust(self, question: int) -> None:
        """There are no more samples of this question."""
        self._questions[question].exhausted = True

    def samples(self, question: int) -> int:
        """How many samples the question has had."""
        return self._questions[question].counts.total()

    def majority(self, question: int) -> str | None:
        """The answer of the highest weight, the first seen of equals; None without a sample."""
        weights = self._questions[question].weights
        return max(weights, key=weights.__getitem__) if weights else None

    def _rank(self, number: int) -> tuple[bool, float, int, int]:
        question = self._questions[number]
        taken = question.counts.total()
        if taken < self._warm_up:
            return False, 0.0, taken, number
        return True, -question.gain(), taken, number

    def _weight(self, confidence: float | None) -> float:
        if confidence is None or not confidence > 0 or math.isinf(confidence):
            return 1.0
        total, number = self._confidences
        self._confidences = total, number = total + confidence, number + 1
        low, high = WEIGHTS
        return min(high, max(low, confidence * number / total))


@dataclass(slots=True)
class _Question:
    """Samples of a question, and draws from the Gamma variables whose ratios are its Dirichlet posterior."""

    seed: int
    options: int
    n_draws: int
    exhausted: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    weights: dict[str, float] = field(default_factory=dict)
    _columns: list[list[float]] = field(default_factory=list)  # answers seen, in the order of `weights`; then others
    _gain: float | None = None

    def add(self, answer: str, weight: float) -> None:
        columns = self._opened()
        step = self._step() if weight == 1 else self._fresh("weight").gammas(weight, self.n_draws)
        if answer not in self.weights:
            self.weights[answer] = 0.0
            if not self.options or len(self.weights) > self.options:
                columns.insert(len(self.weights) - 1, self._fresh("answer").gammas(1.0, self.n_draws))
        place = list(self.weights).index(answer)
        columns[place] = [draw + more for draw, more in zip(columns[place], step, strict=True)]
        self.counts[answer] += 1
        self.weights[answer] += weight
        self._gain = None

    def gain(self) -> float:
        """The rise of h by the best next answer."""
        if self._gain is None:
            self._gain = best_rise(self._opened(), self._step())
        return self._gain

    def _opened(self) -> list[list[float]]:
        if not self._columns:
            first = self._fresh("first")
            self._columns = [first.gammas(1.0, self.n_draws) for _ in range(max(1, self.options))]
        return self._columns

    def _step(self) -> list[float]:
        """What the next sample adds to its answer's draws, whichever that is."""
        return self._fresh("step").gammas(1.0, self.n_draws)

    def _fresh(self, use: str) -> "Draws":
        return Draws(hash64(self.seed, use, self.counts.total()))


def best_rise(columns: Sequence[Sequence[float]], step: Sequence[float]) -> float:
    """How much more often the answer that is most often the largest is so, if the best one's draws grow by `step`."""
    highest = [max(draws) for draws in zip(*columns, strict=True)]
    leaders = [draws.index(top) for draws, top in zip(zip(*columns, strict=True), highest, strict=True)]
    wins = [leaders.count(place) for place in range(len(columns))]
    before = max(wins)
    best = 0
    for place, column in enumerate(columns):
        taken = [
            leader
            for leader, draw, more, top in zip(leaders, column, step, highest, strict=True)
            if draw + more > top and leader != place
        ]
        after = [won - taken.count(other) for other, won in enumerate(wins)]
        after[place] += len(taken)
        best = max(best, max(after) - before)
    return best / len(step)


class Draws:
    """A stream of draws: a congruential generator, because a hash for each would cost more than what they are for."""

    def __init__(self, state: int) -> None:
        self._state = state

    def uniform(self) -> float:
        """Above 0, at most 1."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
        return ((self._state >> 11) + 1) * 2.0**-53

    def gammas(self, shape: float, count: int) -> list[float]:
        """Draws of a Gamma variable: those of shapes that add up are draws of their sum's."""
        return [self._gamma(shape) for _ in range(count)]

    def _gamma(self, shape: float) -> float:
        whole = int(shape)
        found = math.fsum(-math.log(self.uniform()) for _ in range(whole)) if whole != 1 else -math.log(self.uniform())
        return found + self._part(shape - whole) if shape > whole else found

    def _part(self, shape: float) -> float:
        """A draw of a shape below 1, by Joehnk's method."""
        while True:
            one, other = math.pow(self.uniform(), 1 / shape), math.pow(self.uniform(), 1 / (1 - shape))
            if 0 < one + other <= 1:
                return -math.log(self.uniform()) * one / (one + other)
