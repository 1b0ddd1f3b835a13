"""Sums of what runs have counted, in time that does not grow with the number of runs that have ended."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields

from treeroll.core.model.run import Counters, Run, RunState
from treeroll.pb.v1 import watch_pb2 as watch

_SUMMED = [part.name for part in fields(Counters) if part.name in watch.RunTotals.DESCRIPTOR.fields_by_name]


class RunTotals:
    """What the runs of one epoch have counted in it."""

    def __init__(self, runs: Mapping[str, Run], since: float) -> None:
        """`runs` are there already. Those that were created before `since`, seconds since the Unix epoch, have counted
        before, whenever they are read."""
        self.settled: dict[str, Run] = {}
        """Runs of which nothing will come any more."""
        self._since = since
        self._before = {run_id: (run, _counted(run)) for run_id, run in runs.items()}
        self._over = Counter[str]()  # of settled runs, and of others that were deleted
        self._open: dict[str, tuple[Run, Counter[str]]] = {}  # of all others, when they were last looked at

    def look(self, runs: Mapping[str, Run]) -> watch.RunTotals:
        """All that was counted so far."""
        self._leave_out_deleted(runs)
        totals = watch.RunTotals()
        for run_id, run in runs.items():
            if run_id in self.settled:
                continue
            counted = self._in_epoch(run)
            if _has_ended(run):
                self._open.pop(run_id, None)
                self.settled[run_id] = run
                self._over.update(counted)
                continue
            self._open[run_id] = run, counted
            totals.outstanding += run.ledger.outstanding
            if run.state is RunState.OPEN:
                totals.open_runs += 1
            else:
                totals.ending_runs += 1
        summed = self._over.copy()
        for _, counted in self._open.values():
            summed.update(counted)
        for name, value in summed.items():
            setattr(totals, name, value)
        return totals

    def _leave_out_deleted(self, runs: Mapping[str, Run]) -> None:
        """What they have counted stays, also where others have their names now."""
        for run_id in [run_id for run_id, run in self.settled.items() if runs.get(run_id) is not run]:
            del self.settled[run_id]
        for run_id in [run_id for run_id, (run, _) in self._open.items() if runs.get(run_id) is not run]:
            self._over.update(self._open.pop(run_id)[1])
        for run_id in [run_id for run_id, (run, _) in self._before.items() if runs.get(run_id) is not run]:
            del self._before[run_id]

    def _in_epoch(self, run: Run) -> Counter[str]:
        """What the run has counted in this epoch."""
        run_id, counted = run.spec.run_id, _counted(run)
        if run_id not in self._before and run.created < self._since:  # it had ended, and was read only now
            self._before[run_id] = run, counted.copy()
        if run_id in self._before:
            counted.subtract(self._before[run_id][1])
        return counted


def _counted(run: Run) -> Counter[str]:
    counted = Counter({name: getattr(run.counters, name) for name in _SUMMED})
    counted["submitted"] = len(run.tasks)
    counted["finished"], counted["failed"], counted["filtered"] = run.finished, run.failed, run.filtered.total()
    counted["spent"], counted["wasted_tokens"] = run.ledger.spent, run.counters.wasted_tokens
    return counted


def _has_ended(run: Run) -> bool:
    holds = run.window is not None and bool(run.window.held)
    return run.state is not RunState.OPEN and not run.growing and not len(run.waiting) and not holds
