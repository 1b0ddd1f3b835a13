"""Sharing a whole number of things out by weight: the one routine behind every softmax-like allocation.

Largest remainder (Hamilton): everybody first gets their minimum, then the whole part of their share of the rest, then
the units still left go to the largest remainders, earlier items first where remainders are equal. All comparisons are
between integers, so the result does not depend on rounding, platform or the order of summation.
"""

import math
from collections.abc import Sequence

from treeroll.errors import InvalidInput


def apportion(total: int, weights: Sequence[float], minimum: int = 0, caps: Sequence[int] | None = None) -> list[int]:
    """Whole shares of `total` in proportion to `weights`, summing to `total` exactly.

    Args:
        total: Units to share out, >= 0.
        weights: Finite and >= 0, one per item. All zero counts as all equal.
        minimum: Units every item gets before the weights are looked at.
        caps: Most units per item, minimum included. What a capped item cannot take goes to the others by weight.

    Raises:
        InvalidInput: a weight is negative or not finite, or `total` lies outside what minimum and caps allow.
    """
    n = len(weights)
    room = [total] * n if caps is None else [cap - minimum for cap in caps]
    rest = total - minimum * n
    _check(total, weights, rest, room)
    shares = [minimum] * n
    open_items = list(range(n))
    scaled = _as_integers(weights)
    while full := _overfull(rest, scaled, room, open_items):
        for item in full:
            shares[item] += room[item]
            rest -= room[item]
        open_items = [item for item in open_items if item not in full]
    for item, share in zip(open_items, _largest_remainder(rest, [scaled[item] for item in open_items]), strict=True):
        shares[item] += share
    return shares


def rounded_up(total: int, weights: Sequence[float]) -> list[int]:
    """Whole shares of `total` that sum to it, rounded up one after another: the heaviest item first.

    Each gets its share of what is left, rounded up, among those whose turn is still to come, so the heavy get more than
    by `apportion`, and the lightest nothing. Equal weights go by place. This is REBASE's rule (arXiv 2408.00724) in
    whole numbers: its floating point may miss `total`.

    Raises:
        InvalidInput: a weight is negative or not finite, or `total` is negative or has nobody to go to.
    """
    _check(total, weights, total, [total] * len(weights))
    scaled, shares = _as_integers(weights), [0] * len(weights)
    whole = sum(scaled)
    for item in sorted(range(len(weights)), key=lambda item: (-scaled[item], item)):
        if not total:
            break
        shares[item] = -(-total * scaled[item] // whole)
        total -= shares[item]
        whole -= scaled[item]
    return shares


def even(total: int, n: int) -> list[int]:
    """`total` in `n` parts that differ by one at most, larger parts first."""
    # What apportion gives for equal weights, without the arithmetic: growth asks for it at every node.
    share, larger = divmod(total, n)
    return [share + 1] * larger + [share] * (n - larger)


def softmax(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    """exp(score / temperature), normalised to sum to 1; safe for scores of any size, infinite ones included.

    The maximum is subtracted first, so nothing overflows. Items at +inf share everything; if all are at -inf they are
    equal. A not-a-number score counts as -inf.
    """
    if not scores:
        return []
    clean = [-math.inf if math.isnan(score) else score for score in scores]
    top = max(clean)
    if math.isinf(top):
        weights = [1.0 if score == top else 0.0 for score in clean]
    else:
        weights = [math.exp((score - top) / temperature) for score in clean]
    whole = math.fsum(weights)
    return [weight / whole for weight in weights]


def _check(total: int, weights: Sequence[float], rest: int, room: Sequence[int]) -> None:
    if len(room) != len(weights):
        raise InvalidInput(f"apportion got {len(room)} caps for {len(weights)} weights; give one per item")
    if any(not math.isfinite(weight) or weight < 0 for weight in weights):
        raise InvalidInput("apportion got a weight that is negative or not finite; give finite weights >= 0")
    if rest < 0 or (room and min(room) < 0) or sum(room) < rest:
        raise InvalidInput(
            f"apportion cannot share {total} units among {len(weights)} items: minimum or caps forbid it"
        )


def _as_integers(weights: Sequence[float]) -> list[int]:
    """The weights times one common power of two: exact, because every float is an integer over a power of two."""
    if not any(weights):
        return [1] * len(weights)
    ratios = [float(weight).as_integer_ratio() for weight in weights]
    common = max(denominator for _, denominator in ratios)
    return [numerator * (common // denominator) for numerator, denominator in ratios]


def _overfull(rest: int, scaled: Sequence[int], room: Sequence[int], items: Sequence[int]) -> set[int]:
    """Items whose exact share is more than they have room for."""
    whole = sum(scaled[item] for item in items)
    if whole == 0:
        return {item for item in items if room[item] * len(items) < rest}
    return {item for item in items if scaled[item] * rest > room[item] * whole}


def _largest_remainder(total: int, scaled: Sequence[int]) -> list[int]:
    whole = sum(scaled)
    if whole == 0:
        scaled, whole = [1] * len(scaled), len(scaled)
    shares = [weight * total // whole for weight in scaled] if scaled else []
    by_remainder = sorted(range(len(scaled)), key=lambda item: (-(scaled[item] * total % whole), item))
    for item in by_remainder[: total - sum(shares)]:
        shares[item] += 1
    return shares
