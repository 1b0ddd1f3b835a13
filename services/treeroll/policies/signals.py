"""What sampled tokens say about how sure the model was, token by token along a path."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate


def confidences(logprobs: Iterable[float]) -> list[float]:
    """How sure the model was of each token: the probability with which it was sampled, 0..1.

    Ours, because it is what a record holds, and as in `treeroll.client.TokenFactor`. ECHO (arXiv 2602.02150) has the
    mean probability of the best candidates, and its release -mean(log p) of five: no less than ln 5 = 1.61, so that
    the release's thresholds on confidence, 1.2 and below, can never be met [our arithmetic].
    """
    return [math.exp(logprob) for logprob in logprobs]


def means(values: Sequence[float], window: int) -> list[float]:
    """At each value, the mean of the `window` values that end with it, of all so far where there are fewer."""
    sums = list(accumulate(values, initial=0.0))
    partial = [sums[end] / end for end in range(1, min(window, len(sums)))]
    return partial + [(after - before) / window for before, after in zip(sums, sums[window:], strict=False)]


def rises(values: Sequence[float], window: int) -> list[float]:
    """How far each value is above the mean of the `window` values before it, or of all before; 0 for the first."""
    return [value - mean for value, mean in zip(values, [*values[:1], *means(values, window)], strict=False)]


def falls(values: Sequence[float], window: int) -> list[bool]:
    """Whether the mean of the last `window` values, or of all so far, falls at each; False for the first."""
    # What comes in is below what goes out; where nothing goes out, below the mean so far.
    partial = [value < mean for value, mean in zip(values[1:window], means(values, window), strict=False)]
    return [False] * len(values[:1]) + partial + [new < old for old, new in zip(values, values[window:], strict=False)]


def streaks(holds: Iterable[bool]) -> list[int]:
    """How often in a row it has held, up to and including each."""
    return list(accumulate(holds, lambda streak, held: streak + 1 if held else 0, initial=0))[1:]
