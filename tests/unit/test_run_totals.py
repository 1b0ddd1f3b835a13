"""Sums over runs: what one epoch has counted, whatever becomes of the runs."""

from treeroll.coordinator.run_totals import RunTotals
from treeroll.core.model.run import Run, RunSpec, RunState
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Limits
from treeroll.sampling import Sampling

SINCE = 1000.0


def run_of(name: str, created: float = SINCE, leaves: int = 0, tasks: int = 0) -> Run:
    made = build_policies("flat", Limits(1, 32, 4, 128), {})
    spec = RunSpec(name, "{}", 7, 128, Sampling(), made.segment, made.branch, made.prune, made.advantage)
    run = Run(spec, created)
    run.counters.leaves = leaves
    run.tasks = {f"0:{number}": (f"{name}.{number}", "") for number in range(tasks)}
    return run


def test_runs_are_summed_and_what_an_earlier_epoch_counted_is_left_out() -> None:
    old, new = run_of("old", created=5.0, leaves=100, tasks=3), run_of("new", leaves=7, tasks=2)
    totals = RunTotals({"old": old}, SINCE)
    old.counters.leaves += 10
    old.ledger.reserve(50)
    old.ledger.settle(20)
    said = totals.look({"old": old, "new": new})
    assert (said.leaves, said.submitted, said.spent, said.outstanding) == (17, 2, 20, 30)
    assert (said.open_runs, said.ending_runs) == (2, 0)


def test_a_run_that_had_ended_and_is_read_later_adds_nothing() -> None:
    totals, old = RunTotals({}, SINCE), run_of("old", created=5.0, leaves=100)
    old.state = RunState.CLOSED
    assert totals.look({"old": old}).leaves == 0
    assert list(totals.settled) == ["old"]


def test_runs_that_end_or_are_deleted_keep_what_they_counted() -> None:
    ended, deleted = run_of("ended", leaves=1), run_of("deleted", leaves=20)
    totals = RunTotals({}, SINCE)
    totals.look({"ended": ended, "deleted": deleted})
    ended.state, ended.counters.leaves = RunState.CLOSED, 3
    assert totals.look({"ended": ended}).leaves == 23
    assert totals.look({}).leaves == 23
    assert not totals.settled


def test_a_run_that_has_the_name_of_a_deleted_one_is_another_one() -> None:
    totals = RunTotals({"run": run_of("run", created=5.0, leaves=50)}, SINCE)
    assert totals.look({"run": run_of("run", leaves=4)}).leaves == 4
    closed = run_of("run", leaves=5)
    closed.state = RunState.CLOSED
    assert totals.look({"run": closed}).leaves == 9
    assert totals.look({"run": run_of("run", leaves=6)}).leaves == 15


def test_a_run_that_takes_no_tasks_is_settled_when_nothing_of_it_grows_or_waits() -> None:
    totals, run = RunTotals({}, SINCE), run_of("run")
    run.state, run.growing = RunState.CANCELLED, 1
    assert totals.look({"run": run}).ending_runs == 1
    run.growing = 0
    assert totals.look({"run": run}).ending_runs == 0
    assert list(totals.settled) == ["run"]
