"""The figure of merit: how noisy the policy gradients are that engine tokens buy.

With g the gradient of the tasks' mean reward and g^ what an arm delivers for B engine tokens:

    rho^2 = E[g^ . g]^2 / (E[|g^|^2] |g|^2)    the share of the best possible gain of one step
    nu    = B (1 / rho^2 - 1)                  noise tokens: those at which rho^2 would be 1/2, were B scaled
    scale = E[g^ . g] / |g|^2                  1 for an unbiased arm

g is never known. It is measured twice from independent samples, g' and g'': |g|^2 is g' . g'', in which noise does not
add up, and g^ . g the mean of g^ . g' and g^ . g''. An arm's efficiency is the baseline's nu over its own.

Means over few tasks and seeds of squared norms are noisy themselves, most of all by the cross terms of different tasks,
whose gradients' noise is independent. So there is a second reading of nu, by task: the noise of each task alone,
|g^_t|^2 - scale^2 |g_t|^2, added up over the tasks.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]


class Estimate(NamedTuple):
    """A figure and its standard error; nan where it cannot be told."""

    value: float
    error: float


@dataclass(frozen=True)
class Reference:
    """What the gradient of each task was found to be in two halves: products of the two, in which no noise adds up."""

    squared: float
    """|g|^2 of the mean over all tasks."""
    by_task: float
    """Sum over tasks of |g_t|^2, over the squared number of tasks."""


@dataclass(frozen=True)
class Draw:
    """One seed of an arm: its mean gradient over the tasks as far as figures need it."""

    tokens: float
    """B, engine tokens spent."""
    along: float
    """g^ . g, mean of the two halves of the reference."""
    squared: float
    """|g^|^2."""
    by_task: float
    """Sum over tasks of |g^_t|^2, over the squared number of tasks."""


def reference(first: Sequence[Vector], second: Sequence[Vector]) -> Reference:
    """From the gradients of each task in two independent halves; the same tasks in the same order."""
    products = [_dot(one, two) for one, two in zip(first, second, strict=True)]
    count = len(products)
    return Reference(_dot(np.sum(first, 0), np.sum(second, 0)) / count**2, math.fsum(products) / count**2)


def draw(tokens: float, gradients: Sequence[Vector], first: Sequence[Vector], second: Sequence[Vector]) -> Draw:
    """One seed of an arm, from its gradient of each task and the halves of the reference, tasks in one order."""
    count = len(gradients)
    total = np.asarray(np.sum(gradients, 0))
    along = (_dot(total, np.sum(first, 0)) + _dot(total, np.sum(second, 0))) / 2
    by_task = math.fsum(_dot(gradient, gradient) for gradient in gradients)
    return Draw(tokens, along / count**2, _dot(total, total) / count**2, by_task / count**2)


def scale(draws: Sequence[Draw], known: Reference) -> float:
    """E[g^ . g] / |g|^2; nan if the reference is not above 0."""
    return _mean(draw.along for draw in draws) / known.squared if known.squared > 0 else math.nan


def rho_squared(draws: Sequence[Draw], known: Reference) -> float:
    """Squared cosine between what the arm delivers and the gradient; nan if the reference is not above 0."""
    if known.squared <= 0:
        return math.nan
    return _mean(draw.along for draw in draws) ** 2 / (_mean(draw.squared for draw in draws) * known.squared)


def noise_tokens(draws: Sequence[Draw], known: Reference) -> float:
    """nu, of the mean gradient over all tasks; infinite for an arm that does not go along the gradient."""
    rho = rho_squared(draws, known)
    if math.isnan(rho) or _mean(draw.along for draw in draws) <= 0:
        return math.nan if math.isnan(rho) else math.inf
    return _mean(draw.tokens for draw in draws) * (1 / rho - 1)


def noise_tokens_by_task(draws: Sequence[Draw], known: Reference) -> float:
    """nu with the noise of each task added up.

    At the scale that was measured, also where theory knows it: draws that go further along the gradient by chance are
    longer by as much, and at a scale of their own that is no noise. It is much, where a draw is mostly gradient.
    """
    factor = scale(draws, known)
    if known.squared <= 0:
        return math.nan
    if factor <= 0:
        return math.inf
    noise = _mean(draw.by_task for draw in draws) - factor**2 * known.by_task
    return _mean(draw.tokens for draw in draws) * noise / (factor**2 * known.squared)


def noise_tokens_unbiased(draws: Sequence[Draw], known: Reference) -> float:
    """nu of an arm that theory says is unbiased: its mean squared distance from the gradient, over |g|^2, times B.

    The distance is (g^ - g') . (g^ - g''), so neither the reference's noise nor a scale that was measured is in it: far
    less noisy than the others where a draw is mostly noise.
    """
    if known.squared <= 0:
        return math.nan
    noise = _mean(draw.squared - 2 * draw.along for draw in draws) + known.squared
    return _mean(draw.tokens for draw in draws) * noise / known.squared


def efficiency(baseline: float, arm: float) -> float:
    """The baseline's noise tokens over the arm's: above 1, the arm's tokens are worth more."""
    return baseline / arm if arm > 0 else math.nan


def jackknife(count: int, statistic: Callable[[Sequence[int]], float]) -> Estimate:
    """A statistic of seeds 0 to count - 1, and its standard error from leaving out one after the other.

    The error is nan for fewer than two seeds, and where a value is not finite.
    """
    every = range(count)
    value = statistic(every)
    if count < 2:
        return Estimate(value, math.nan)
    left_out = [statistic([seed for seed in every if seed != gone]) for gone in every]
    if not all(map(math.isfinite, left_out)):
        return Estimate(value, math.nan)
    center = _mean(left_out)
    return Estimate(value, math.sqrt((count - 1) / count * math.fsum((one - center) ** 2 for one in left_out)))


def _dot(one: Vector, two: Vector) -> float:
    return float(np.dot(one.astype(np.float64), two.astype(np.float64)))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)
