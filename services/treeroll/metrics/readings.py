"""Where the values of metrics come from."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from treeroll.metrics.metric import Sample, Seen, StoreFigures
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.pb.v1 import watch_pb2 as watch

MOST_RUNS, MOST_GROUPS, MOST_SCORERS = 20, 32, 32
REPLICA_STATES = ("joining", "ready", "suspect", "quarantined", "draining", "lost")
BRANCHES = {
    "running": "running",
    "slot": "waiting_slot",
    "engine": "waiting_engine",
    "budget": "waiting_budget",
    "rate": "waiting_rate",
    "held": "held",
    "judge": "waiting_judge",
    "stopping": "stopping",
}
OUTCOMES = ("finished", "stopped", "lost", "credit", "held", "drained")
ENDS = ("left", "drained", "preempted")
WASTE = {
    "late": "late_tokens",
    "past_boundary": "dropped_tokens",
    "pruned": "pruned_tokens",
    "censored": "censored_tokens",
}

Read = Callable[[Seen], Iterable[Sample]]


def total(name: str) -> Read:
    """One figure of the totals."""
    return lambda seen: [((), getattr(seen.snapshot.totals, name))]


def totals(names: dict[str, str]) -> Read:
    """Several of them, by the value of a label."""
    return lambda seen: [((label,), getattr(seen.snapshot.totals, name)) for label, name in names.items()]


def own(read: Callable[[watch.Snapshot], float]) -> Read:
    """A figure of the snapshot itself."""
    return lambda seen: [((), read(seen.snapshot))]


def histogram(read: Callable[[watch.Snapshot], watch.Histogram]) -> Read:
    """A histogram of the snapshot."""
    return lambda seen: [((), read(seen.snapshot))]


def pools(read: Callable[[watch.PoolFigures], float]) -> Read:
    """A figure of each pool."""
    return lambda seen: [((pool.name,), read(pool)) for pool in seen.snapshot.pools]


def runs(read: Callable[[api.Run], float]) -> Read:
    """A figure of each run that is shown."""
    return lambda seen: [((run.run_id,), read(run)) for run in seen.snapshot.runs[:MOST_RUNS]]


def branches(seen: Seen) -> Iterator[Sample]:
    """Branches by state."""
    for pool in seen.snapshot.pools:
        for state, name in BRANCHES.items():
            yield (pool.name, state), getattr(pool, name)


def grants(seen: Seen) -> Iterator[Sample]:
    """Grants that ended, by outcome."""
    for pool in seen.snapshot.pools:
        for outcome in OUTCOMES:
            yield (pool.name, outcome), getattr(pool, f"{outcome}_grants")


def replicas(seen: Seen) -> Iterator[Sample]:
    """Replicas by state."""
    found = Counter((replica.pool, replica.state) for replica in seen.snapshot.replicas)
    for pool in seen.snapshot.pools:
        for state in REPLICA_STATES:
            yield (pool.name, state), found[pool.name, state]


def losses(seen: Seen) -> Iterator[Sample]:
    """Losses of replicas."""
    for pool in seen.snapshot.pools:
        known = sum(one.losses for one in seen.snapshot.replicas if one.pool == pool.name)
        yield (pool.name,), known + pool.forgotten_losses


def ends(seen: Seen) -> Iterator[Sample]:
    """Ends of replicas that were no losses."""
    for pool in seen.snapshot.pools:
        for how in ENDS:
            yield (pool.name, how), getattr(pool, f"{how}_replicas")


def budgets(seen: Seen) -> Iterator[Sample]:
    """Caps of runs."""
    for run in seen.snapshot.runs[:MOST_RUNS]:
        for cap in run.caps:
            for state in ("limit", "spent", "outstanding"):
                yield (run.run_id, cap.resource, state), getattr(cap, state)


def deadlines(seen: Seen) -> Iterator[Sample]:
    """Ends of runs."""
    for run in seen.snapshot.runs[:MOST_RUNS]:
        if run.HasField("deadline"):
            yield (run.run_id,), run.deadline


def run_trees(seen: Seen) -> Iterator[Sample]:
    """Tasks of runs by state."""
    for run in seen.snapshot.runs[:MOST_RUNS]:
        for state in ("waiting", "growing", "finished", "failed"):
            yield (run.run_id, state), getattr(run, state)
        yield (run.run_id, "filtered"), sum(run.filtered.values())


def run_waste(seen: Seen) -> Iterator[Sample]:
    """Waste of runs by cause."""
    for run in seen.snapshot.runs[:MOST_RUNS]:
        for cause, name in WASTE.items():
            yield (run.run_id, cause), getattr(run, name)


def scores(seen: Seen) -> Iterator[Sample]:
    """Answers of scorers."""
    ordered = _scorers(seen)
    named = [(one.scorer, [one]) for one in ordered[:MOST_SCORERS]]
    rest = ordered[MOST_SCORERS:]
    for name, figures in [*named, *([("other", rest)] if rest else [])]:
        for outcome in ("scored", "failed", "abstained"):
            yield (name, outcome), sum(getattr(one, outcome) for one in figures)


def score_times(seen: Seen) -> Iterator[Sample]:
    """How long they took, of those that are named."""
    for one in _scorers(seen)[:MOST_SCORERS]:
        yield (one.scorer,), one.seconds


def _scorers(seen: Seen) -> list[watch.ScorerFigures]:
    """Those that are asked most come first: clients may name as many as they want."""
    return sorted(seen.snapshot.scorers, key=lambda one: (-sum(one.seconds.counts), one.scorer))


def _groups(seen: Seen) -> list[tuple[str, str, list[watch.GroupFigures]]]:
    ordered = sorted(seen.groups, key=lambda one: (-one.waiting, one.run_id, one.group))
    named = [(one.run_id, one.group, [one]) for one in ordered[:MOST_GROUPS]]
    rest = ordered[MOST_GROUPS:]
    return [*named, ("other", "other", rest)] if rest else named


def feed_trees(seen: Seen) -> Iterator[Sample]:
    """Trees that groups have not acknowledged."""
    for run_id, group, figures in _groups(seen):
        for state in ("waiting", "leased"):
            yield (run_id, group, state), sum(getattr(one, state) for one in figures)


def feed_acknowledged(seen: Seen) -> Iterator[Sample]:
    """Trees that they have."""
    for run_id, group, figures in _groups(seen):
        yield (run_id, group), sum(one.acknowledged for one in figures)


def feed_stuck(seen: Seen) -> Iterator[Sample]:
    """How long they have acknowledged none."""
    for run_id, group, figures in _groups(seen):
        yield (run_id, group), max(one.stuck_s for one in figures)


def of_store(read: Callable[[StoreFigures], float]) -> Read:
    """A figure of the store, if anybody has looked."""
    return lambda seen: [] if seen.store is None else [((), read(seen.store))]


def store_memory(seen: Seen) -> Iterator[Sample]:
    """Memory of the store."""
    if seen.store is not None and seen.store.up:
        yield ("used",), seen.store.used_bytes
        if seen.store.max_bytes:
            yield ("limit",), seen.store.max_bytes


def desired(seen: Seen) -> Iterator[Sample]:
    """Replicas that demand asks for."""
    for pool in seen.snapshot.pools:
        if pool.HasField("desired_replicas"):
            yield (pool.name,), pool.desired_replicas


def scalings(seen: Seen) -> Iterator[Sample]:
    """Decisions on the number of replicas."""
    for pool in seen.snapshot.pools:
        for rule in sorted(pool.scalings):
            yield (pool.name, rule), pool.scalings[rule]


def kept(seen: Seen) -> Iterator[Sample]:
    """Replicas that are kept alive."""
    for pool in seen.snapshot.pools:
        if pool.HasField("kept_replicas"):
            yield (pool.name,), pool.kept_replicas
