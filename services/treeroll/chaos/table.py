"""The table of faults: what of it this machine can measure, with what is promised, and why the rest cannot be."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from treeroll.chaos.faults import Strike, all_faults
from treeroll.chaos.measure import Measured, Promise
from treeroll.chaos.ordeal import Outcome


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a fault, for so long, so many times, and what is promised of it."""

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
    Row(("redis-silent",), 60.0, PAUSE),
    Row(("redis-killed",), 60.0, PAUSE),
    Row(("redis-read-only",), 60.0, PAUSE),
    Row(("redis-out-of-memory",), 60.0, PAUSE),
    Row(("failing-replica", "mute-replica"), 50.0, Promise(regranted_s=45.0, share=0.95, lives=0)),
    Row(("failing-replica",), 30.0, Promise(share=0.95, lives=0)),
    Row(("mute-replica",), 50.0, Promise(regranted_s=45.0, share=0.95, lives=0)),
    Row(("kill-replica",), 12.0, Promise(regranted_s=12.0, lives=1)),
    Row(("stop-replica",), 5.0, Promise(regrants=0, lives=0)),
    Row(("stop-replica",), 20.0, Promise(regranted_s=12.0, lives=0)),
    Row(("reset-replica",), 0.0, Promise(stall_s=1.5, regrants=0, lives=0), times=11),
    Row(("cut-replica",), 20.0, Promise(regranted_s=12.0, lives=0)),
    Row(("unheard-replica",), 15.0, Promise(regranted_s=12.0, lives=0)),
    Row(("stop-coordinator",), 5.0, PAUSE),
    Row(("stop-coordinator",), 30.0, PAUSE),
    Row(("kill-coordinator",), 1.0, Promise(recovery_s=5.0, lives=0)),
    Row(("kill-coordinator",), 5.0, Promise(recovery_s=5.0, lives=0)),
    Row(("redis-silent",), 5.0, PAUSE),
    Row(("redis-silent",), 8.0, PAUSE),
    Row(("redis-silent",), 30.0, PAUSE),
    Row(("redis-killed",), 0.0, PAUSE),
    Row(("redis-killed",), 5.0, PAUSE),
    Row(("redis-disk-full",), 60.0, PAUSE),
    Row(("redis-cut",), 15.0, PAUSE),
    Row(("redis-slow-0.1",), 20.0, Promise(regrants=0, lives=0)),
    Row(("redis-slow-3",), 30.0, Promise(regrants=0, lives=0)),
    Row(("redis-slow-6",), 30.0, Promise(regrants=0, lives=0)),
    Row(("kill-trainer",), 5.0, Promise(regrants=0, lives=0)),
    Row(("stop-trainer",), 8.0, Promise(regrants=0, lives=0)),
    Row(("reset-trainer",), 0.0, Promise(regrants=0, lives=0), times=5),
)

UNMEASURED: Sequence[tuple[str, str]] = (
    ("the coordinator is killed at a named point", "scripts/chaos --kills 200 does"),
    ("two coordinators", "no fault of chaos yet; tests/fault/test_owner.py"),
    ("the answer to a call is lost", "a TCP proxy cannot tell answers apart; tests/fault/test_outlasting.py does"),
    ("the store is emptied, or older", "no fault of chaos yet: its run ends with it; tests/fault/test_lost_work.py"),
    ("Redis' wall clock jumps", "needs a library built by a C compiler; tests/fault/test_wall_clock.py"),
    ("rewards late, twice, NaN", "no fault of a process; tests/integration/test_reward_write_back.py"),
    ("bad input of clients and replicas", "no fault of a process; tests/fault/test_hostile_reports.py"),
    ("many connections, waiting calls", "load, not a fault: on two cores it would measure itself"),
    ("SIGTERM, upgrade", "no fault: what is under way is asked to end"),
    ("power loss", "needs a file layer that drops what was not synced"),
)

COLUMNS = (
    "fault",
    ">stall s",
    ">recovery s",
    ">re-granted",
    ">after s",
    ">others",
    ">again",
    ">lost",
    "promised",
    "verdict",
)


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
