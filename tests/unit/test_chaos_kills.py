"""Kills of the coordinator: where lives die is drawn evenly, and what came of it is reckoned from what was durable."""

from collections import Counter
from random import Random

import pytest

from treeroll import failpoints
from treeroll.chaos.kills import Death, drawn_lives
from treeroll.chaos.ordeal import Outcome
from treeroll.chaos.reckoning import places, recoveries, tokens
from treeroll.chaos.watch import Sample, Watch


def test_lives_die_at_every_failpoint_as_often_as_at_any_other_and_the_seed_decides() -> None:
    lives = drawn_lives(Random(7), 200)
    often = Counter(life.failpoint for life in lives)
    assert often.keys() == {*failpoints.NAMES}
    assert max(often.values()) - min(often.values()) <= 1
    assert min(often.values()) >= 200 / 16
    assert sum(life.takes_over for life in lives) == 50
    assert lives == drawn_lives(Random(7), 200) != drawn_lives(Random(8), 200)


def test_a_failpoint_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match=r"no failpoint 'commit\.befor': there are open\.after, "):
        failpoints.arm("commit.befor:3")


def test_a_recovery_is_over_with_the_first_tokens_that_were_not_durable_at_the_death() -> None:
    watch = Watch("", "", "run")
    watch.durable = [Sample(at_s, spent, 0, 0) for at_s, spent in ((1.0, 8), (2.0, 9), (3.0, 9), (4.5, 10), (5.0, 12))]
    death = Death("commit.after", 1.5, 9, taken_over=False)
    death.judge(watch, 6.0)
    assert death.recovered_s == 3.0
    death.judge(watch, 4.5)
    assert death.recovered_s is None


def death(failpoint: str, recovered_s: float | None, taken_over: bool = False) -> Death:
    return Death(failpoint, 0.0, 0, taken_over, recovered_s)


def test_half_of_the_new_starts_and_every_takeover_are_held_against_what_is_promised() -> None:
    deaths = [death("a", 1.0), death("a", 2.0), death("b", 9.0), death("b", None), death("b", 8.5, taken_over=True)]
    assert places(deaths) == [["a", "2"], ["b", "3"]]
    assert recoveries(deaths) == [
        ["started again", "4", "2.00", "7.60", "9.00", "1", "median <= 5 s", "kept"],
        ["taken over", "1", "8.50", "8.50", "8.50", "0", "all <= 8 s", "8.50 s"],
    ]
    assert recoveries([death("a", None)])[0][2:] == ["-", "-", "-", "1", "median <= 5 s", "unknown"]


def test_what_engines_decoded_beyond_the_accounts_was_decoded_again() -> None:
    lines = tokens([Outcome(0.0, 0, [], [], (), 0, decoded, spent) for decoded, spent in ((110, 100), (100, 100))])
    assert ["tokens decoded again, or for nothing", "10 (5.0%)"] in lines
