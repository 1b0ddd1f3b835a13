"""What live pages show, worked out of the last minutes of snapshots. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from treeroll.dashboard.poller import Look
from treeroll.dashboard.sources.plain import plain
from treeroll.pb.v1.watch_pb2 import Histogram, PoolFigures, ReplicaFigures, Snapshot
from treeroll.watch.verdict import verdict
from treeroll.watch.view import View

Json = dict[str, Any]

# Speeds are of so many seconds, what became of tokens of so many.
SPEED_S, WASTE_S = 15.0, 300.0
# News come once a second, and are looked for once a second: after so long without any the figures are greyed, which a
# page then does within 5 s of the last of them, before anybody is called.
STALE_S = 3.5
WAITING = ("waiting_slot", "waiting_engine", "waiting_budget", "waiting_rate", "waiting_judge", "held")
CAUSES = {
    "pruned": "pruned_tokens",
    "late": "late_tokens",
    "past boundary": "dropped_tokens",
    "censored": "censored_tokens",
}


def state(look: Look) -> Json:
    """The message of one second."""
    view = look.view()
    found: Json = {
        "turn": look.turn,
        "phase": _phase(look, view),
        "age_s": view.age_s if look.latest is not None else None,
        "error": look.error,
        "verdict": [
            {"rule": one.rule, "severity": one.severity.value, "sentence": one.sentence, "page": one.page}
            for one in verdict(view)
        ],
    }
    last = look.latest
    if last is None:
        return {**found, "snapshot": None}
    return {
        **found,
        "snapshot": {
            **{name: getattr(last, name) for name in ("at", "epoch", "since", "version", "pid", "host", "durability")},
            "draining": last.draining,
            "store_used": last.store_used if last.HasField("store_used") else None,
            "growing_trees": last.growing_trees,
            "waiting_tasks": last.waiting_tasks,
            "waiting_scores": last.waiting_scores,
            "known_runs": last.known_runs,
            "totals": plain(last.totals),
            "pools": [plain(pool) for pool in last.pools],
            "replicas": _replicas(last.replicas),
            "runs": [run_line(run) for run in last.runs],
            "groups": [plain(group) for group in last.groups],
            "scorers": [_scorer(scorer) for scorer in last.scorers],
            "violations": [plain(one) for one in last.violations],
            "loop": {
                "inbox": last.loop.inbox,
                "ticks": last.loop.ticks,
                "lag_max_s": last.loop.lag_max_s,
                "outages": last.loop.outages,
                "fenced_reports": last.loop.fenced_reports,
            },
        },
        "work": _work(view),
        "waiting": _waiting(last),
        "waste": _waste(view),
    }


def _phase(look: Look, view: View) -> str:
    if look.error:
        return "store away"
    if look.latest is None:
        return "nothing yet"
    return "stale" if view.age_s > STALE_S else "live"


def _work(view: View) -> Json:
    growth = view.since(SPEED_S)
    longer = view.since(WASTE_S)
    found: Json = {"tokens_per_s": None, "leaves_per_s": None, "effective_per_1k": None, "commit_p50_s": None}
    if growth is not None and growth.seconds:
        found["tokens_per_s"] = growth.of("spent") / growth.seconds
        found["leaves_per_s"] = growth.of("leaves") / growth.seconds
    if longer is not None:
        spent = longer.of("spent")
        found["effective_per_1k"] = 1000 * longer.of("effective_leaves") / spent if spent else None
        for share in (50, 99):
            found[f"commit_p{share}_s"] = percentile(longer.first.loop.commit_s, longer.last.loop.commit_s, share / 100)
            found[f"decision_p{share}_s"] = percentile(
                longer.first.loop.decision_s, longer.last.loop.decision_s, share / 100
            )
    return found


def _waiting(last: Snapshot) -> Json:
    found = {name.removeprefix("waiting_"): sum(getattr(pool, name) for pool in last.pools) for name in WAITING}
    return {**found, "scorer": last.waiting_scores}


def _waste(view: View) -> Json | None:
    growth = view.since(WASTE_S)
    if growth is None or not growth.of("spent"):
        return None
    scored = growth.of("scored_trees")
    return {
        "seconds": growth.seconds,
        "spent": growth.of("spent"),
        "kept": growth.of("spent") - growth.of("wasted_tokens"),
        "causes": {cause: growth.of(name) for cause, name in CAUSES.items()},
        "scored_trees": scored,
        "no_signal": growth.of("trees_without_signal"),
    }


def _replicas(replicas: Sequence[ReplicaFigures]) -> Json:
    """A table, its names once: there may be a thousand, and this is sent every second."""
    speeds: dict[str, list[float]] = {}
    for replica in replicas:
        if replica.HasField("tokens_per_s") and replica.branches:
            speeds.setdefault(replica.pool, []).append(replica.tokens_per_s)
    usual = {pool: median(found) for pool, found in speeds.items()}
    rows = [{**plain(replica), "of_median": _share(replica, usual)} for replica in replicas]
    return {
        "names": list(rows[0]) if rows else [],
        "rows": [[round(v, 3) if isinstance(v, float) else v for v in row.values()] for row in rows],
    }


def _share(replica: ReplicaFigures, usual: dict[str, float]) -> float | None:
    if not replica.HasField("tokens_per_s") or not usual.get(replica.pool):
        return None
    return replica.tokens_per_s / usual[replica.pool]


def _scorer(scorer: Any) -> Json:
    found = {name: getattr(scorer, name) for name in ("scorer", "scored", "failed", "abstained", "error")}
    calls = sum(scorer.seconds.counts)
    return {**found, "mean_s": scorer.seconds.sum / calls if calls else None, "max_s": scorer.seconds.max}


def run_line(run: Any) -> Json:
    """A run as lists show it, in the same words as one of results."""
    return {
        "run_id": run.run_id,
        "state": run.state,
        "trees": run.finished + run.failed + sum(run.filtered.values()),
        "growing": run.growing,
        "waiting": run.waiting,
        "submitted": run.submitted,
        "finished": run.finished,
        "failed": run.failed,
        "filtered": sum(run.filtered.values()),
        "leaves": run.leaves,
        "spent": run.ledger.spent,
        "outstanding": run.ledger.outstanding,
        "wasted": run.wasted_tokens,
        "scored": run.scored_trees,
        "no_signal": run.trees_without_signal,
        "reward_errors": run.reward_errors,
        "forks": run.forks,
        "regrants": run.regrants,
        "caps": [plain(cap) for cap in run.caps],
        "stop_reason": run.stop_reason,
        "stop_detail": run.stop_detail,
        "held_up": run.held_up,
        "waits_for_group": run.waits_for_group,
        "stuck": run.stuck,
        "deadline": run.deadline if run.HasField("deadline") else None,
    }


def percentile(first: Histogram, last: Histogram, share: float) -> float | None:
    """The upper bound below which this share of what came between two moments lies; None of nothing.

    Of what is above the highest bound that bound is told.
    """
    before = list(first.counts) or [0] * len(last.counts)
    if len(before) != len(last.counts):
        return None
    counts = [max(0, b - a) for a, b in zip(before, last.counts, strict=True)]
    wanted, seen = share * sum(counts), 0
    if not sum(counts):
        return None
    for bound, count in zip(last.bounds, counts, strict=False):
        seen += count
        if seen >= wanted:
            return bound
    return last.bounds[-1] if last.bounds else None


def history(look: Look) -> Json:
    """Columns of equal length: when, tokens/s, waiting branches, running ones, tasks, trees; and what happened."""
    points = [*look.points, *([look.latest] if look.latest is not None else [])]
    found: Json = {name: [] for name in ("at", "tokens_per_s", "running", "waiting", "tasks", "growing", "commit_s")}
    events: list[Json] = []
    for before, point in pairwise(points):
        same = before.epoch == point.epoch
        if not same:
            events.append({"at": point.at, "what": f"epoch {point.epoch}"})
        seconds = point.at - before.at
        grown = point.totals.spent - before.totals.spent
        found["at"].append(point.at)
        found["tokens_per_s"].append(grown / seconds if same and seconds > 0 and grown >= 0 else None)
        found["running"].append(_sum(point.pools, "running"))
        found["waiting"].append(sum(_sum(point.pools, name) for name in WAITING))
        found["tasks"].append(point.waiting_tasks)
        found["growing"].append(point.growing_trees)
        found["commit_s"].append(point.loop.commit_s.max or None)
    return {**found, "events": events}


def _sum(pools: Sequence[PoolFigures], name: str) -> int:
    return sum(getattr(pool, name) for pool in pools)
