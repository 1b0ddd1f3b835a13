"""An engine that forgets one request while it decodes others is told from one that is slow, full, or stands still."""

from collections.abc import Iterator, Mapping

import pytest

from treeroll.generator.engine import EngineStats
from treeroll.generator.stalls import LONGEST_LOOK_S, STALLED_S, Stalls

LOOKS = int(2 * STALLED_S)


def looks(requests: Iterator[Mapping[int, int]], waiting: int = 0, every_s: float = 1.0) -> int | None:
    """At which look the first grant was found to be forgotten, which must be 1; None if none was."""
    stalls = Stalls()
    for number, tokens in zip(range(LOOKS), requests, strict=False):
        if found := stalls.look(number * every_s, EngineStats(running=len(tokens), waiting=waiting), tokens):
            assert found == [1]
            return number
    return None


def one_is_forgotten() -> Iterator[Mapping[int, int]]:
    for number in range(LOOKS):
        yield {1: 5, 2: number, 3 + number: 1}


def test_one_without_a_token_while_others_get_theirs_and_none_waits_is_forgotten() -> None:
    assert looks(one_is_forgotten()) == STALLED_S


def test_who_may_wait_for_a_turn_is_not() -> None:
    assert looks(one_is_forgotten(), waiting=1) is None


def test_nobody_is_in_an_engine_that_stands_still() -> None:
    assert looks({1: 5, 2: 7} for _ in range(LOOKS)) is None


@pytest.mark.parametrize("token_at", [STALLED_S / 2, STALLED_S - 1])
def test_a_token_begins_the_time_anew(token_at: float) -> None:
    assert looks({1: number >= token_at, 2: number} for number in range(LOOKS)) == token_at + STALLED_S


def test_a_new_branch_has_all_of_its_time_before_it() -> None:
    assert looks({2: number} | ({1: 0} if number > 30 else {}) for number in range(LOOKS)) == 31 + STALLED_S


def test_a_process_that_stood_still_vouches_for_no_more_than_one_look() -> None:
    assert looks(one_is_forgotten(), every_s=3600.0) == STALLED_S / LONGEST_LOOK_S
