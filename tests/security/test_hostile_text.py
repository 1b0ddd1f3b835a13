"""What others sent is shown as what it is: no line of a log or of an error is theirs, and no terminal obeys it."""

import logging
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from treeroll.cli.main import app
from treeroll.cli.serving import OneLine
from treeroll.cli.settings import read_settings
from treeroll.errors import InvalidInput

HOSTILE = "r0\n2031-01-01 INFO treeroll: all is well \x1b[2J\u202e"


def line(message: str, *args: object) -> str:
    record = logging.LogRecord("treeroll", logging.INFO, __file__, 1, message, args, None)
    return OneLine("%(levelname)s %(name)s: %(message)s").format(record)


def test_a_line_break_in_what_is_logged_begins_no_line() -> None:
    shown = line("replica %s incarnation %d joined: %s", HOSTILE, 3, ValueError(HOSTILE))
    assert shown.isprintable()
    assert shown.startswith("INFO treeroll: replica r0\\n2031-01-01 INFO treeroll: all is well \\x1b[2J\\u202e inc")
    assert "incarnation 3 joined" in shown


def test_by_name_and_by_number_as_well() -> None:
    assert line("%(who)s %(share).1f", {"who": HOSTILE, "share": 0.25}).isprintable()
    assert line("%r of %s", HOSTILE, [HOSTILE]).isprintable()
    assert line("nothing %s") == "INFO treeroll: nothing %s"


def test_an_error_of_a_command_is_one_line_that_no_terminal_obeys(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert app.run(["serve", "--set", f"coordinator.host={HOSTILE}"]) == 2
    said = capfd.readouterr().err
    assert said.startswith("error: ")
    assert said.removesuffix("\n").isprintable()
    assert sys.stderr is not None


def test_yaml_that_stands_for_more_than_there_is_room_for_is_refused_at_once(tmp_path: Path) -> None:
    names = "abcdefghijklmnopqrstuvwxyz"
    layers = [f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in pairwise(names)]
    file = tmp_path / "bomb.yaml"
    for text in ("\n".join(["a: &a [x, x, x]", *layers]), "a: &a [*a]"):
        file.write_text(text)
        with pytest.raises(InvalidInput, match="stands for more than 100,000 values, by aliases"):
            read_settings(file)
    file.write_text("base: &base {slots: 4}\ngenerator: {<<: *base, replicas: 2}\n")
    assert read_settings(file)["generator"] == {"slots": 4, "replicas": 2}
