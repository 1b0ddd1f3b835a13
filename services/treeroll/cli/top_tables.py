"""The tables of `treeroll top`. Whatever is left out is counted."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from treeroll.cli.console import clip, counted, number, plain, table
from treeroll.pb.v1.rollout_pb2 import Run
from treeroll.pb.v1.watch_pb2 import ReplicaFigures, Snapshot
from treeroll.watch.rules import duration
from treeroll.watch.view import View

MOST_REPLICAS, MOST_RUNS, MOST_GROUPS = 20, 10, 10
# Figures per second are those of so many seconds.
OVER_S = 60.0
NAME = 20


def head(view: View) -> Text:
    """Whose news these are, and how old."""
    last = view.latest
    if last is None:
        return Text("treeroll: no news", style="bold")
    age = f"{view.age_s:.1f} s old"
    said = f"treeroll {last.version}  epoch {last.epoch}  pid {last.pid} on {plain(last.host)}  up "
    return Text(f"{said}{duration(max(0.0, last.at - last.since))}  {age}", style="bold")


def work(view: View) -> Table:
    """What came in the last minute, and how the loop does."""
    last, growth = view.latest, view.since(OVER_S)
    rows = []
    if last is not None and growth is not None and growth.seconds:
        spent, wasted, effective = growth.of("spent"), growth.of("wasted_tokens"), growth.of("effective_leaves")
        made = f"{spent / growth.seconds:,.0f} tokens/s"
        if spent:
            made += f", {1 - wasted / spent:.0%} in samples, {1000 * effective / spent:.2f} effective leaves per 1k"
        rows.append(("made", f"{made}; {growth.of('leaves') / growth.seconds:,.1f} leaves/s"))
    if last is not None:
        rows.append(("work", f"{last.growing_trees:,} trees grow, {last.waiting_tasks:,} tasks wait"))
        loop = last.loop
        rows.append((
            "loop",
            f"longest commit {1000 * loop.commit_s.max:,.0f} ms, decision {1000 * loop.decision_s.max:,.0f} ms, "
            f"lag {1000 * loop.lag_max_s:,.0f} ms, inbox {loop.inbox:,}",
        ))  # fmt: skip
    return table("", ("", ""), rows)


def pools(last: Snapshot) -> Table:
    """What branches do, or wait for."""
    columns = ("pool", ">ready", ">slots", ">run", ">slot", ">engine", ">budget", ">rate", ">held", ">judge", ">stop")
    rows = [
        (
            clip(pool.name or "-", NAME),
            f"{pool.ready_replicas}/{pool.replicas}",
            *(
                number(value)
                for value in (
                    pool.slots, pool.running, pool.waiting_slot, pool.waiting_engine, pool.waiting_budget,
                    pool.waiting_rate, pool.held, pool.waiting_judge, pool.stopping,
                )
            ),
        )
        for pool in last.pools
    ]  # fmt: skip
    return table("branches", columns, rows)


def replicas(last: Snapshot) -> Group:
    """Those in trouble first."""
    columns = ("replica", "state", ">branches", ">in engine", ">KV", ">tok/s", ">heard s", ">lost")
    shown = sorted(last.replicas, key=_trouble)
    rows = [
        (
            clip(one.replica_id, NAME),
            one.state,
            f"{one.branches}/{one.slots}",
            f"{one.running}+{one.waiting}",
            f"{one.kv_usage:.0%}",
            f"{one.tokens_per_s:,.0f}" if one.HasField("tokens_per_s") else "-",
            f"{one.silent_s:.1f}",
            str(one.losses),
        )
        for one in shown[:MOST_REPLICAS]
    ]
    return _cut(table("replicas", columns, rows), len(shown) - MOST_REPLICAS, "replica")


def _trouble(replica: ReplicaFigures) -> tuple[bool, int, str]:
    return replica.state == "ready", -replica.recent_losses, replica.replica_id


def runs(last: Snapshot) -> Group:
    """The newest first."""
    columns = ("run", "state", ">done", ">growing", ">waiting", ">leaves", ">tokens", ">waste")
    rows = [
        (
            clip(run.run_id, NAME),
            run.state,
            f"{_done(run)}/{run.submitted}",
            number(run.growing),
            number(run.waiting),
            number(run.leaves),
            number(run.ledger.spent),
            f"{run.wasted_tokens / run.ledger.spent:.0%}" if run.ledger.spent else "-",
        )
        for run in last.runs[:MOST_RUNS]
    ]
    return _cut(table("runs", columns, rows), last.known_runs - len(rows), "run")


def _done(run: Run) -> int:
    return run.finished + run.failed + sum(run.filtered.values())


def groups(last: Snapshot) -> Group:
    """Those that wait for the longest first."""
    columns = ("feed of run", "group", ">acknowledged", ">leased", ">waiting", ">none for")
    shown = sorted(last.groups, key=lambda one: (-one.stuck_s, one.run_id, one.group))
    rows = [
        (
            clip(one.run_id, NAME),
            clip(one.group, NAME),
            number(one.acknowledged),
            number(one.leased),
            number(one.waiting),
            duration(one.stuck_s) if one.waiting else "-",
        )
        for one in shown[:MOST_GROUPS]
    ]
    return _cut(table("feed", columns, rows), len(shown) - MOST_GROUPS, "group")


def _cut(grid: Table, left_out: int, noun: str) -> Group:
    notes: Sequence[Text] = [Text(f"and {counted(left_out, noun)} more", style="dim")] if left_out > 0 else []
    return Group(grid, *notes)
