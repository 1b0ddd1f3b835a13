"""Draws that stay: as good as fresh ones, and changed no more than they must be."""

from collections import Counter

import pytest

from treeroll.policies.allocate.draws import StandingDraws

DRAWS = 5000


def drawn(items, most=40, seed=1):
    draws = StandingDraws(seed, DRAWS, most)
    for _ in range(items):
        draws.add()
    return draws


@pytest.mark.parametrize("items", [1, 2, 10, 40, 41, 100])
def test_each_item_in_the_ring_is_drawn_as_often_as_any_other(items):
    found = Counter(drawn(items).places)
    kept = min(items, 40)
    assert set(found) == set(range(kept))
    # Five standard deviations of a binomial.
    room = 5 * (DRAWS / kept * (1 - 1 / kept)) ** 0.5
    assert all(abs(count - DRAWS / kept) <= room for count in found.values())


def test_draws_do_not_depend_on_each_other():
    places = drawn(40).places
    pairs = Counter(zip(places[::2], places[1::2], strict=True))
    # 1,600 pairs are equally likely, 2,500 were drawn: about 1 - exp(-2500 / 1600) of them occur.
    assert len(pairs) == pytest.approx(1600 * (1 - 2.718281828 ** (-2500 / 1600)), rel=0.04)


def test_only_draws_of_the_new_item_change_and_they_are_named():
    draws = StandingDraws(1, DRAWS, 40)
    for item in range(100):
        before = list(draws.places)
        place, changed = draws.add()
        named = set(changed)
        assert place == item % 40
        assert sorted(changed) == [draw for draw, at in enumerate(draws.places) if at == place]
        assert all(draws.places[draw] == at for draw, at in enumerate(before) if draw not in named)


def test_draws_are_those_of_the_seed():
    assert drawn(60, seed=1).places == drawn(60, seed=1).places != drawn(60, seed=2).places
