"""Rounds that were measured are kept when a later one fails or somebody has seen enough."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from treeroll.bench.result import Column, Result
from treeroll.bench.rounds import Figures, Rounds, run_rounds
from treeroll.cli.bench.options import show
from treeroll.cli.bench.running import unless_interrupted
from treeroll.cli.interrupts import Interrupted
from treeroll.errors import TreerollError


async def measure(rounds: int, at: int, end: Callable[[], None]) -> Rounds:
    """Two variants; the second calls `end` in round `at`, and then waits until it is stopped."""

    async def first(number: int) -> Figures:
        return {"speed": number}

    async def second(number: int) -> Figures:
        if number == at:
            end()
            await asyncio.Event().wait()
        return {"speed": 10 * number}

    return await run_rounds({"first": first, "second": second}, rounds, lambda line: None)


def fail() -> None:
    """What a variant does where something broke."""
    raise TreerollError("the load stands still")


def interrupt() -> None:
    """What Ctrl-C does."""
    os.kill(os.getpid(), signal.SIGINT)


def test_all_rounds_are_measured_variant_after_variant() -> None:
    rounds = asyncio.run(measure(3, -1, fail))
    assert rounds == {"first": [{"speed": n} for n in (1, 2, 3)], "second": [{"speed": n} for n in (10, 20, 30)]}
    assert not rounds.cut_short


def test_whole_rounds_before_one_that_failed_are_kept() -> None:
    rounds = asyncio.run(measure(5, 3, fail))
    assert rounds == {"first": [{"speed": 1}, {"speed": 2}], "second": [{"speed": 10}, {"speed": 20}]}
    assert rounds.cut_short == "round 3 of 5 failed: the load stands still"


def test_whole_rounds_before_ctrl_c_are_kept() -> None:
    rounds = asyncio.run(unless_interrupted(measure(5, 2, interrupt)))
    assert rounds == {"first": [{"speed": 1}], "second": [{"speed": 10}]}
    assert rounds.cut_short == "round 2 of 5 was interrupted"


def test_a_benchmark_without_processes_of_its_own_keeps_them_too() -> None:
    assert asyncio.run(measure(5, 2, interrupt)).cut_short == "round 2 of 5 was interrupted"


@pytest.mark.parametrize("at", [0, 1], ids=["warm-up", "first round"])
def test_without_a_whole_round_there_is_nothing_to_show(at: int) -> None:
    with pytest.raises(TreerollError, match="the load stands still"):
        asyncio.run(measure(5, at, fail))
    with pytest.raises(Interrupted):
        asyncio.run(unless_interrupted(measure(5, at, interrupt)))


def test_a_benchmark_that_was_cut_short_shows_what_it_has_and_then_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds = asyncio.run(measure(5, 3, fail))
    with pytest.raises(TreerollError, match="round 3 of 5 failed: the load stands still; the table is of the rounds"):
        show(Result("example", {}, rounds, [Column("speed", "speed")]), tmp_path / "figures.json")
    assert "1.5 (1.0-2.0)" in capsys.readouterr().out
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["rounds"]["second"] == [{"speed": 10}, {"speed": 20}]
    assert written["cut_short"] == rounds.cut_short
