"""What a benchmark found: a table for people and JSON for the record."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treeroll.bench.machine import commit, machine, versions
from treeroll.bench.rounds import Rounds, median, ratios
from treeroll.whole_file import whole_file


@dataclass(frozen=True, slots=True)
class Table:
    """What people are shown. A column whose title starts with ">" is right-aligned; cells may have several lines."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Column:
    """One figure in the table. `ratio_to` adds a column with its ratio to that variant, taken round by round."""

    figure: str
    title: str
    digits: int = 1
    ratio_to: str | None = None


@dataclass(slots=True)
class Result:
    """Rounds of one benchmark, with everything needed to read them."""

    bench: str
    parameters: Mapping[str, Any]
    rounds: Rounds
    columns: Sequence[Column]
    remarks: list[str] = field(default_factory=list)
    """Sentences printed below the table."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What is for the record alone, by variant."""

    def table(self) -> Table:
        """Variants down, figures across: median (lowest-highest), and medians of the rounds' ratios."""
        titles = [f">{title}" for column in self.columns for title in _titles(column)]
        rows = [
            [name, *(cell for column in self.columns for cell in self._cells(name, column))] for name in self.rounds
        ]
        count = max((len(found) for found in self.rounds.values()), default=0)
        return Table(f"{self.bench}: median (lowest-highest) of {count} rounds", ["variant", *titles], rows)

    def _cells(self, name: str, column: Column) -> list[str]:
        values = [figures[column.figure] for figures in self.rounds[name] if column.figure in figures]
        cells = [_spread(values, column.digits)]
        if column.ratio_to is not None:
            known = column.ratio_to in self.rounds
            cells.append(_spread(ratios(self.rounds, column.figure, name, column.ratio_to) if known else [], 2))
        return cells

    def as_json(self) -> dict[str, Any]:
        """Everything, with the machine, the versions and the command that was typed."""
        return {
            "bench": self.bench,
            "command": " ".join(["treeroll", *sys.argv[1:]]),
            "commit": commit(),
            "machine": machine(),
            "versions": versions(),
            "parameters": dict(self.parameters),
            "rounds": {name: [dict(figures) for figures in found] for name, found in self.rounds.items()},
            "cut_short": self.rounds.cut_short,
            "remarks": self.remarks,
            **({"details": dict(self.details)} if self.details else {}),
        }

    def write(self, path: Path) -> None:
        """Write the JSON, whole or not at all."""
        with whole_file(path) as unfinished:
            unfinished.write_text(json.dumps(self.as_json(), indent=1) + "\n")


def _titles(column: Column) -> list[str]:
    return [column.title] if column.ratio_to is None else [column.title, f"/ {column.ratio_to}"]


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    middle, low, high = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}-{high})"
