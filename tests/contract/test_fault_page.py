"""The table of faults in docs/guarantees.md is what was measured, and has every fault."""

import json
import re
from pathlib import Path

import pytest

from treeroll.chaos.fault_lines import LINES
from treeroll.chaos.fault_page import FIGURES, filled
from treeroll.chaos.faults import all_faults
from treeroll.chaos.table import ROWS, keep

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guarantees.md"


def test_the_table_is_current() -> None:
    figures = json.loads((PAGE.parent / FIGURES).read_text())
    assert PAGE.read_text() == filled(PAGE.read_text(), figures), (
        "run: python -m treeroll.chaos.fault_page docs/guarantees.md"
    )


def test_every_fault_is_measured_or_it_is_said_what_covers_it() -> None:
    assert [line.number for line in LINES] == [*range(1, 31)]
    measured = {row.number for row in ROWS}
    assert measured <= {line.number for line in LINES}
    assert all(line.number in measured or line.elsewhere for line in LINES)
    assert {name for row in ROWS for name in row.names} == all_faults().keys()
    assert len({row.title for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("line", [line for line in LINES if "`" in line.elsewhere], ids=lambda line: str(line.number))
def test_what_covers_a_fault_is_there(line: object) -> None:
    for name in re.findall(r"`((?:tests|scripts)/[\w/.]+)", str(line)):
        assert (ROOT / name).exists(), name


def test_a_row_that_was_measured_again_replaces_its_figures_and_leaves_the_others(tmp_path: Path) -> None:
    file, line = tmp_path / "faults.json", ["x"] * 10
    keep(file, ROWS[1], line, "there")
    keep(file, ROWS[0], line, "there")
    keep(file, ROWS[1], ["y"] * 10, "here")
    figures = json.loads(file.read_text())
    assert [*figures] == [ROWS[0].title, ROWS[1].title]
    assert (figures[ROWS[1].title]["verdict"], figures[ROWS[1].title]["where"]) == ("y", "here")
    assert figures[ROWS[0].title]["verdict"] == "x"
