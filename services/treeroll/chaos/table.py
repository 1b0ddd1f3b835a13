"""The rows of the table of faults that chaos measures, with what is promised of each."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from treeroll.chaos.faults import Strike, all_faults
from treeroll.chaos.measure import Measured, Promise
from treeroll.chaos.ordeal import Outcome


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured at once: faults, for so long, so many times, and what is promised of them."""

    number: int
    """Of its line in the table, see `fault_lines`."""
    names: tuple[str, ...]
    """Faults that begin together."""
    lasts_s: float
    promise: Promise
    times: int = 1

    @property
    def title(self) -> str:
        """For people."""
        again = f", {self.times} times" if self.times > 1 else ""
        lasts = f" {self.lasts_s:g} s" if self.lasts_s else ""
        return f"{' and '.join(self.names)}{lasts}{again}"

    def strikes(self) -> list[Strike]:
        """In one run."""
        return [Strike(self.names, 1.0, self.lasts_s)] * self.times

    def unavailable(self) -> str:
        """Why it cannot be measured here; "" if it can."""
        faults = all_faults()
        return next((why for name in self.names if (why := faults[name].unavailable())), "")


PAUSE = Promise(recovery_s=1.0, regrants=0, lives=0)

ROWS: Sequence[Row] = (
    Row(2, ("kill-replica",), 12.0, Promise(regranted_s=12.0, lives=1)),
    Row(3, ("failing-replica",), 30.0, Promise(share=0.95, lives=0)),
    Row(3, ("failing-replica", "mute-replica"), 50.0, Promise(regranted_s=45.0, share=0.95, lives=0)),
    Row(4, ("stop-replica",), 5.0, Promise(regrants=0, lives=0)),
    Row(4, ("stop-replica",), 20.0, Promise(regranted_s=12.0, lives=0)),
    Row(4, ("mute-replica",), 50.0, Promise(regranted_s=45.0, share=0.95, lives=0)),
    Row(5, ("kill-coordinator",), 1.0, Promise(recovery_s=5.0, lives=0)),
    Row(5, ("kill-coordinator",), 5.0, Promise(recovery_s=5.0, lives=0)),
    Row(8, ("stop-coordinator",), 5.0, PAUSE),
    Row(8, ("stop-coordinator",), 30.0, PAUSE),
    Row(8, ("stop-coordinator",), 120.0, PAUSE),
    Row(9, ("redis-silent",), 5.0, PAUSE),
    Row(9, ("redis-silent",), 8.0, PAUSE),
    Row(9, ("redis-silent",), 30.0, PAUSE),
    Row(9, ("redis-silent",), 60.0, PAUSE),
    Row(10, ("redis-killed",), 0.0, PAUSE),
    Row(10, ("redis-killed",), 5.0, PAUSE),
    Row(10, ("redis-killed",), 60.0, PAUSE),
    Row(10, ("redis-cut",), 15.0, PAUSE),
    Row(11, ("redis-out-of-memory",), 60.0, PAUSE),
    Row(11, ("redis-read-only",), 60.0, PAUSE),
    Row(11, ("redis-disk-full",), 60.0, PAUSE),
    Row(13, ("redis-slow-0.1",), 20.0, Promise(regrants=0, lives=0)),
    Row(13, ("redis-slow-3",), 30.0, Promise(regrants=0, lives=0)),
    Row(13, ("redis-slow-6",), 30.0, Promise(regrants=0, lives=0)),
    Row(14, ("reset-replica",), 0.0, Promise(stall_s=1.5, regrants=0, lives=0), times=11),
    Row(14, ("cut-replica",), 20.0, Promise(regranted_s=12.0, lives=0)),
    Row(14, ("unheard-replica",), 15.0, Promise(regranted_s=12.0, lives=0)),
    Row(15, ("kill-trainer",), 5.0, Promise(regrants=0, lives=0)),
    Row(15, ("stop-trainer",), 8.0, Promise(regrants=0, lives=0)),
    Row(15, ("reset-trainer",), 0.0, Promise(regrants=0, lives=0), times=5),
)


# As in the table that is printed; ">" aligns right.
COLUMNS = (
    "fault", ">stall s", ">recovery s", ">re-granted", ">after s", ">others", ">again", ">lost", "promised", "verdict",
)  # fmt: skip


def rows_with(names: Collection[str]) -> list[Row]:
    """Rows all of whose faults are among these names."""
    return [row for row in ROWS if set(row.names) <= set(names)]


def cells(row: Row, outcome: Outcome) -> list[str]:
    """The row's line. The figures of repeated strikes are the worst."""
    found = [Measured.of(outcome, struck) for struck in outcome.struck]
    worst = Measured(
        max(one.stall_s for one in found),
        max((one.recovery_s for one in found if one.recovery_s is not None), default=None),
        max((one.regranted_s for one in found if one.regranted_s is not None), default=None),
        min((one.share for one in found if one.share is not None), default=None),
    )
    missed = [*outcome.findings, *row.promise.missed(outcome, worst)]
    lost = outcome.failed if not outcome.findings else "see verdict"
    return [
        row.title, f"{worst.stall_s:.1f}", _figure(worst.recovery_s, 2), str(outcome.regrants),
        _figure(worst.regranted_s, 1), f"{worst.share:.2f} x" if worst.share is not None else "-",
        str(outcome.decoded - outcome.spent), str(lost),
        row.promise.text(), "; ".join(missed) or "kept",
    ]  # fmt: skip


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def keep(file: Path, row: Row, line: Sequence[str], where: str) -> None:
    """Write a row's line into a JSON file of them, in the place of the one before."""
    figures = json.loads(file.read_text()) if file.exists() else {}
    figures[row.title] = dict(zip([column.lstrip(">") for column in COLUMNS], line, strict=True)) | {"where": where}
    inorder = {one.title: figures[one.title] for one in ROWS if one.title in figures}
    file.write_text(json.dumps(inorder, indent=1) + "\n")
