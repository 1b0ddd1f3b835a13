"""Sets of positive integers as ranges: what a group has acknowledged of a feed is a few of them.

A range is (first, last), both inside. A set is a list of ranges that ascend and neither overlap nor touch. Pure.
"""

from collections.abc import Iterable, Sequence

Range = tuple[int, int]


def of(numbers: Iterable[int]) -> list[Range]:
    """The set of these numbers, in any order and perhaps more than once."""
    return merged((number, number) for number in numbers)


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The set that ranges, which may overlap, make together."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


def missing(ranges: Iterable[Range], upto: int) -> list[Range]:
    """What of 1 to `upto` is not in a set."""
    found: list[Range] = []
    start = 1
    for first, last in [*ranges, (upto + 1, upto + 1)]:
        if start > upto:
            break
        if first > start:
            found.append((start, min(first - 1, upto)))
        start = last + 1
    return found


def has(ranges: Iterable[Range], number: int) -> bool:
    """Whether a number is in one of them."""
    return any(first <= number <= last for first, last in ranges)


def count(ranges: Iterable[Range]) -> int:
    """How many numbers are in them."""
    return sum(last - first + 1 for first, last in ranges)


def is_set(ranges: Sequence[Range]) -> bool:
    """Whether these are ranges of positive numbers as this module makes them."""
    edges = [edge for first, last in ranges for edge in (first, last + 1)]
    return all(first < second for first, second in zip([0, *edges], edges, strict=False))
