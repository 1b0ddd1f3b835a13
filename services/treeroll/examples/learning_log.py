"""Reads what a trainer of these examples leaves behind: its curve, and whether its steps took every tree once.

    python -m treeroll.examples.learning_log runs/demo_train

says the latter, and ends with status 1 if a tree was trained on twice, or never.

A trainer that goes on from a checkpoint repeats steps that a killed life had written down already. So a line takes back
all lines before it that are not of an earlier step.
"""

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from treeroll.demo.arithmetic import training_tasks


def standing(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The lines that nothing took back, in order of their "step"."""
    kept: list[Mapping[str, Any]] = []
    for line in lines:
        while kept and int(kept[-1]["step"]) >= int(line["step"]):
            kept.pop()
        kept.append(line)
    return kept


def read_curve(folder: Path) -> list[dict[str, float]]:
    """Rows of curve.csv, by column; none if there is no such file."""
    file = folder / "curve.csv"
    if not file.exists():
        return []
    with file.open(newline="") as rows:
        return [{name: float(value) for name, value in row.items()} for row in standing(csv.DictReader(rows))]


@dataclass(frozen=True)
class Account:
    """Where the tasks of a training went, by the journal and the checkpoint."""

    steps: int
    trained: int
    twice: tuple[str, ...]
    """Trained on more than once."""
    never: tuple[str, ...]
    """Submitted, not trained on, and not waiting either."""
    waiting: int
    """Submitted, and not trained on yet."""

    def __str__(self) -> str:
        return (
            f"{self.trained:,} trees in {self.steps} steps, {len(self.twice)} of them twice; "
            f"{len(self.never)} were lost, {self.waiting} are still to come"
        )


def account(folder: Path) -> Account:
    """Whether the weights in DIR/checkpoint.pt were trained on every tree once, by DIR/journal.jsonl."""
    import torch

    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    with (folder / "journal.jsonl").open() as journal:
        lines = [line for line in standing(map(json.loads, journal)) if line["step"] <= saved["step"]]
    counts = Counter(task for line in lines for task in line["tasks"])
    taken = {str(task["id"]) for task in islice(training_tasks(), saved["taken"])}
    never = taken - counts.keys() - saved["waiting"].keys()
    twice = [task for task, count in counts.items() if count > 1 or task in saved["waiting"] or task not in taken]
    return Account(len(lines), counts.total(), tuple(sorted(twice)), tuple(sorted(never)), len(saved["waiting"]))


def main() -> None:
    """The account of the folder that is named."""
    parser = argparse.ArgumentParser(description="Whether a trainer's checkpoint has learned from every tree once.")
    parser.add_argument("folder", type=Path, help="what was --out of the trainer")
    found = account(parser.parse_args().folder)
    print(found)
    sys.exit(1 if found.twice or found.never else 0)


if __name__ == "__main__":
    main()
