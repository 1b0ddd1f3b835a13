"""Whether predicted success rates come true."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was said of a task before its tree grew, and what its leaves then did."""

    rate: float
    successes: float
    scored: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions from `low` up to `high`: their mean and the rate observed, both weighted by scored leaves."""

    low: float
    high: float
    predictions: int
    scored: float
    predicted: float
    observed: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """`error`: expected calibration error, the mean over leaves of |predicted - observed| of their bin.

    `brier`: mean squared difference between the predicted rate and a leaf's success, 0 or 1; `floor`: the part of it
    that remains if every task's observed rate had been predicted; `base`: that of always saying the overall rate.
    """

    bins: tuple[Bin, ...]
    error: float
    brier: float
    floor: float
    base: float


def calibration(predictions: Iterable[Prediction], bins: int = 10) -> Calibration:
    """Reliability of predictions in bins of equal width, empty ones left out. Those without a scored leaf say nothing.

    All figures are 0 where nothing was predicted.
    """
    known = [prediction for prediction in predictions if prediction.scored > 0]
    total = math.fsum(prediction.scored for prediction in known)
    if not total:
        return Calibration((), 0.0, 0.0, 0.0, 0.0)
    found = tuple(_bin(number, bins, known) for number in sorted({_number(p.rate, bins) for p in known}))
    error = math.fsum(bin_.scored * abs(bin_.predicted - bin_.observed) for bin_ in found) / total
    overall = math.fsum(prediction.successes for prediction in known) / total
    return Calibration(
        found,
        error,
        math.fsum(_squares(p, p.rate) for p in known) / total,
        math.fsum(_squares(p, p.successes / p.scored) for p in known) / total,
        math.fsum(_squares(p, overall) for p in known) / total,
    )


def _number(rate: float, bins: int) -> int:
    return min(bins - 1, int(rate * bins))


def _bin(number: int, bins: int, known: Sequence[Prediction]) -> Bin:
    inside = [prediction for prediction in known if _number(prediction.rate, bins) == number]
    scored = math.fsum(prediction.scored for prediction in inside)
    predicted = math.fsum(prediction.rate * prediction.scored for prediction in inside) / scored
    observed = math.fsum(prediction.successes for prediction in inside) / scored
    return Bin(number / bins, (number + 1) / bins, len(inside), scored, predicted, observed)


def _squares(prediction: Prediction, rate: float) -> float:
    """Sum over a task's leaves of the squared differences from a rate."""
    failures = prediction.scored - prediction.successes
    return prediction.successes * (1 - rate) ** 2 + failures * rate**2
