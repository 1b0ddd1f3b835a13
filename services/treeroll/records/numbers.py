"""Whether tokens, one by one, are such as an engine can have sampled."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

# A logprob may be so far above 0, and an entropy below, by rounding.
ROUNDING = 1e-3
# Ids are int32: all are below this.
ANY_ID = 2**31


def wrong_numbers(ids: bytes, logprobs: bytes, entropies: bytes, vocab_size: int = ANY_ID) -> str:
    """What is wrong with the numbers of some tokens, one at least, for the middle of a sentence; "" if nothing is.

    Little-endian, as in a Node: `ids` int32, the others float32, `entropies` (nats) of as many tokens as have any.
    """
    highest = int(np.frombuffer(ids, "<u4").max())  # a negative id is above all others
    if highest >= vocab_size:
        return f"with the id {highest if highest < ANY_ID else highest - 2 * ANY_ID}, the model has {vocab_size}"
    # nan is the lowest and the highest of all it is among, and compares as false.
    nats = np.frombuffer(logprobs, "<f4")
    if not (nats.min() > -np.inf and nats.max() <= ROUNDING):
        return "with a logprob that is no finite number up to 0"
    nats = np.frombuffer(entropies, "<f4")
    if len(nats) and not (nats.min() >= -ROUNDING and nats.max() < np.inf):
        return "with an entropy that is no finite number from 0 on"
    return ""


def are_sums(logprobs: bytes, sizes: Sequence[int], said: Sequence[float]) -> bool:
    """Whether finite float32 `logprobs` of segments of so many tokens, one behind the other, sum to what is said."""
    firsts = [0, *accumulate(sizes[:-1])]
    sums = np.add.reduceat(np.frombuffer(logprobs, "<f4"), firsts, dtype=np.float64)
    return bool((np.abs(sums - said) <= ROUNDING * (1 + np.abs(sums))).all())  # nothing is near nan


def are_minima(logprobs: bytes, sizes: Sequence[int], said: Sequence[float]) -> bool:
    """Whether what is said is the lowest of each segment's finite float32 `logprobs`, as in `are_sums`."""
    firsts = [0, *accumulate(sizes[:-1])]
    return bool((np.minimum.reduceat(np.frombuffer(logprobs, "<f4"), firsts) == said).all())
