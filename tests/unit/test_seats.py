"""Which replicas a fleet is to have."""

from treeroll.generator.config import GeneratorConfig
from treeroll.generator.seats import Roster


def roster(replicas: int, before: str = "") -> Roster:
    made = Roster(GeneratorConfig(replicas=replicas).fleet(), before)
    for seat in made.fill():
        seat.ready = True
    return made


def ending(made: Roster) -> set[str]:
    return {name for name, seat in made.seats.items() if seat.until is not None}


def test_what_is_wanted_is_filled_up_under_the_names_that_are_free() -> None:
    made = roster(3, "east-")
    assert list(made.seats) == ["east-r0", "east-r1", "east-r2"]
    made.remove(made.seats["east-r1"])
    assert [seat.replica_id for seat in made.fill()] == ["east-r1"]
    made.scale("", 5, [], 1.0)
    assert [(seat.replica_id, seat.number) for seat in made.fill()] == [("east-r3", 3), ("east-r4", 4)]
    assert made.fill() == []


def test_one_that_is_to_end_has_a_successor_at_once_and_keeps_its_name_until_it_is_gone() -> None:
    made = roster(2)
    made.end(made.seats["r0"], 5.0, "its node goes")
    assert [seat.replica_id for seat in made.fill()] == ["r2"]
    assert made.kept("") == 2
    assert (made.ready, made.total) == (1, 2)
    made.seats["r2"].ready = True
    assert (made.ready, made.total) == (2, 2)


def test_those_end_first_that_serve_nobody_then_those_with_the_least_to_do() -> None:
    made = roster(5)
    made.seats["r3"].ready = False
    made.seats["r4"].given_up = True
    made.scale("", 3, ["r2", "r1", "r0"], 5.0)
    assert ending(made) == {"r3", "r4"}
    made.scale("", 2, ["r2", "r1", "r0"], 5.0)
    assert ending(made) == {"r3", "r4", "r2"}
    assert (made.wanted[""], made.kept("")) == (2, 2)


def test_an_earlier_end_counts_and_a_later_one_does_not() -> None:
    made = roster(1)
    seat = made.seats["r0"]
    for within_s, left in ((60.0, 60.0), (600.0, 60.0), (5.0, 5.0)):
        made.end(seat, within_s, "why")
        assert left - 1.0 < seat.left_s <= left


def test_one_that_was_given_up_is_not_tried_under_another_name() -> None:
    made = roster(2)
    made.seats["r0"].given_up = True
    assert made.fill() == []
    assert made.kept("") == 1
