"""Sets of numbers as ranges agree with sets."""

from hypothesis import given
from hypothesis import strategies as st

from treeroll import ranges

NUMBERS = st.sets(st.integers(1, 30))


def numbers(found: list[ranges.Range]) -> set[int]:
    return {number for first, last in found for number in range(first, last + 1)}


@given(NUMBERS, NUMBERS, st.integers(0, 40))
def test_ranges_are_sets(some: set[int], others: set[int], upto: int) -> None:
    made = ranges.of(some)
    assert ranges.is_set(made)
    assert (numbers(made), ranges.count(made)) == (some, len(some))
    both = ranges.merged([*made, *ranges.of(others)])
    assert ranges.is_set(both)
    assert numbers(both) == some | others
    left_out = ranges.missing(made, upto)
    assert ranges.is_set(left_out)
    assert numbers(left_out) == set(range(1, upto + 1)) - some


def test_what_is_no_set_is_told() -> None:
    for pairs in ([(0, 1)], [(2, 1)], [(1, 2), (3, 4)], [(1, 3), (2, 5)], [(5, 6), (1, 2)]):
        assert not ranges.is_set(pairs)
    assert ranges.is_set([])
    assert ranges.is_set([(1, 1), (3, 9)])
