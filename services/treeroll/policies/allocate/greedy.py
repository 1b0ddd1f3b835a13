"""Leaves by marginal value: optimal, because the value is concave and every leaf costs the same."""

import math
from collections.abc import Sequence
from heapq import heapify, heapreplace
from typing import Final

from treeroll.policies.allocate.value import gain, promise

# Rates closer to 0 or 1 are 0 or 1: their values are beyond what floats can compare.
EDGE: Final = 1e-8

# A task's gains: with x = -log(threshold), between first + x * rise - slack and first + x * rise of them are above it.
_Fall = tuple[float, float, float]


def filled(rates: Sequence[float], units: int, least: int, most: int) -> list[int]:
    """Leaves per task, `least` to `most`, with `units` in all beyond `least` each: of the highest sum of values.

    Rates are EDGE or more away from 0 and 1, and `units` no more than there is room for. Of equal gains the earlier
    task's comes first.
    """
    room = most - least
    if units >= room * len(rates):
        return [most] * len(rates)
    leaves = _head_starts(rates, units, least, most)
    # One entry per task that has room: its next gain, negative because heaps pop the smallest.
    heap = [(-gain(count, rates[item]), item) for item, count in enumerate(leaves) if count < most]
    heapify(heap)
    for _ in range(units + least * len(rates) - sum(leaves)):
        item = heap[0][1]
        leaves[item] = count = leaves[item] + 1
        heapreplace(heap, (-gain(count, rates[item]) if count < most else math.inf, item))
    return leaves


def _head_starts(rates: Sequence[float], units: int, least: int, most: int) -> list[int]:
    """Leaves that each task has in every optimum, because no more than `units` gains are as high as theirs.

    Most of the heap's work is saved so: gains fall almost geometrically, so how many of a task's are above a threshold
    is known within one or two.
    """
    falls = [_fall(rate, least) for rate in rates]
    price, room = _price(falls, units, most - least), most - least
    # A little less, so that a gain at the threshold is left to the heap, however it is rounded.
    counts = [math.floor(first + price * rise - slack - 1e-6) for first, rise, slack in falls]
    return [least if count < 0 else least + count if count < room else most for count in counts]


def _price(falls: Sequence[_Fall], units: int, room: int) -> float:
    """-log of a threshold that no more than `units` gains are above, and not many fewer."""
    low, fewest = -max(first / rise for first, rise, _ in falls), 0.0
    high, all_ = max((room + slack - first) / rise for first, rise, slack in falls), float(room * len(falls))
    # By interpolation, kept from the ends.
    while high - low > 1e-3 and units - fewest > len(falls) / 8 and fewest < all_:
        share = (units - fewest) / (all_ - fewest)
        middle = low + (high - low) * min(0.9, max(0.1, share))
        above = _most_above(falls, middle, room)
        if above > units:
            high, all_ = middle, above
        else:
            low, fewest = middle, above
    return low


def _most_above(falls: Sequence[_Fall], x: float, room: int) -> float:
    """No fewer than all gains above exp(-x)."""
    total = 0.0
    for first, rise, _ in falls:
        count = first + x * rise
        if count > 0:
            total += count if count < room else room
    return total


def _fall(rate: float, least: int) -> _Fall:
    # gain(n) = promise * rarer * commoner^n * (1 + (rarer / commoner)^(n - 1)), and n is `least` or more.
    rarer = min(rate, 1 - rate)
    step = -math.log1p(-rarer)
    slack = (rarer / (1 - rarer)) ** (least - 1)  # no less than the log of the last factor
    rise = 1 / step
    return (math.log(promise(rate) * rarer) + slack) * rise - least + 1, rise, slack * rise
