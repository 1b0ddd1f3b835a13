"""What can be wrong with a service, or better: one table, worst first. Each rule looks at some minutes and finds
sentences."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import median

from treeroll.pb.v1.watch_pb2 import PoolFigures, ReplicaFigures
from treeroll.watch.view import View

STALE_S = 5.0
STALL_S, STALL_GAPS, STALL_UNKNOWN_S = 10.0, 6.0, 60.0
"""No token for so long, or so many of the usual gaps between tokens; or for so long where no usual one is known."""
FEED_STUCK_S = 300.0
FLAPS = 3
SLOW, SLOW_AMONG = 0.5, 3
"""Below this share of the median speed of a pool, in which so many replicas have one."""
RECENT_S = 300.0
FEW_SCORES, SCORE_ERRORS = 100, 0.01
FEW_TOKENS, WASTE = 10_000, 0.2
NO_SIGNAL_OF, NO_SIGNAL = 100, 0.5
BUDGET = 0.95
KV_FULL, PREEMPTIONS_PER_S = 0.9, 0.1
FEW_GRANTS, CREDIT_STOPS = 100, 0.01
GRANTS = ("finished_grants", "stopped_grants", "lost_grants", "credit_grants", "held_grants", "drained_grants")
IDLE_S, IDLE_SLOTS = 30.0, 0.25

CAUSES = {
    "late_tokens": "came after their branch had been told to end",
    "dropped_tokens": "lay behind the last boundary of their branch",
    "pruned_tokens": "are on paths that were pruned",
    "censored_tokens": "are on paths that were cut",
}


class Severity(StrEnum):
    """What somebody should do."""

    PAGE = "page"  # now, whatever the hour
    WARN = "warn"  # today
    INFO = "info"  # nothing, but know it
    ADVICE = "advice"  # think about it when nothing is wrong


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that a rule has found."""

    sentence: str
    page: str = ""
    """Of the dashboard, where it is seen in detail: "runs/NAME", "replicas", "feed", "store"."""


Look = Callable[[View], Iterator[Found]]


@dataclass(frozen=True, slots=True)
class Rule:
    """`name` is also that of the alert."""

    name: str
    severity: Severity
    look: Look
    needs_news: bool = True
    """It says nothing of a service that is silent."""


def broken(view: View) -> Iterator[Found]:
    """A promise that was broken since the service started."""
    for promise in view.latest.violations if view.latest else ():
        ago = duration(max(0.0, view.now - promise.at))
        yield Found(f"{promise.invariant} was broken {promise.times}x, last {ago} ago: {promise.detail}", "events")


def silent(view: View) -> Iterator[Found]:
    """Nobody says how the service is."""
    last = view.latest
    if last is None:
        yield Found("no coordinator has ever said how it is in this store")
    elif view.age_s > STALE_S:
        where = f"last epoch {last.epoch}, pid {last.pid} on {last.host}"
        yield Found(f"no news from the coordinator for {duration(view.age_s)}, {where}")


def store_away(view: View) -> Iterator[Found]:
    """The store does not answer who watches."""
    if view.store.error:
        yield Found(f"the store does not answer: {view.store.error}", "store")


def store_evicts(view: View) -> Iterator[Found]:
    """The store throws away what it had answered for."""
    if view.store.evicted_keys:
        yield Found(
            f"the store has evicted {view.store.evicted_keys:,} keys: set its maxmemory-policy to noeviction", "store"
        )


def store_full(view: View) -> Iterator[Found]:
    """Nothing begins any more."""
    last = view.latest
    if last is not None and last.store_full:
        yield Found(
            f"the store has used {last.store_used:.0%} of its memory, so no tree starts: raise its maxmemory, or "
            "delete finished runs",
            "store",
        )


def store_filling(view: View) -> Iterator[Found]:
    """It will be full."""
    last = view.latest
    if last is not None and not last.store_full and last.store_used > 0.8:
        yield Found(f"the store has used {last.store_used:.0%} of its memory; at 90 % no tree starts", "store")


def no_replica(view: View) -> Iterator[Found]:
    """Work waits, and nobody is there who could do it."""
    last = view.latest
    for pool in last.pools if last is not None else ():
        if last is None or pool.ready_replicas or not (pool.waiting_slot or last.waiting_tasks):
            continue
        what = f"{pool.waiting_slot:,} branches" if pool.waiting_slot else f"{last.waiting_tasks:,} tasks"
        started = f", {pool.kept_replicas} are to be started" if pool.kept_replicas else ""
        causes = [replica.lost_cause for replica in last.replicas if replica.pool == pool.name and replica.losses]
        why = f"; one was lost because {causes[-1]}" if causes else ""
        yield Found(f"{_pool(pool.name)} has no replica that is ready, and {what} wait{started}{why}", "replicas")


def stalled(view: View) -> Iterator[Found]:
    """Branches run, and no segment comes."""
    last, came = view.latest, view.spent_at()
    if last is None or not came or not any(pool.running for pool in last.pools):
        return
    gaps = [later - earlier for earlier, later in pairwise(came)]
    limit = max(STALL_S, STALL_GAPS * median(gaps)) if gaps else STALL_UNKNOWN_S
    quiet = last.at - came[-1]
    ran = all(any(pool.running for pool in point.pools) for point in view.all_within(min(quiet, limit)))
    if quiet > limit and ran:
        running = sum(pool.running for pool in last.pools)
        usual = f", where one usually comes every {duration(median(gaps))}" if gaps else ""
        yield Found(f"{running:,} branches run and no segment has come for {duration(quiet)}{usual}", "replicas")


def feed_blocked(view: View) -> Iterator[Found]:
    """A group has trees to take and acknowledges none."""
    for group in view.latest.groups if view.latest else ():
        if group.waiting and group.stuck_s >= FEED_STUCK_S:
            yield Found(
                f"group {group.group} of run {group.run_id} has acknowledged no tree for {duration(group.stuck_s)}, "
                f"while {group.waiting:,} trees wait and {group.leased:,} are on lease",
                "feed",
            )


def flapping(view: View) -> Iterator[Found]:
    """A replica dies again and again."""
    for replica in view.latest.replicas if view.latest else ():
        if replica.recent_losses >= FLAPS:
            yield Found(
                f"replica {replica.replica_id} was lost {replica.recent_losses}x in 10 min, last because "
                f"{replica.lost_cause}",
                f"replicas/{replica.replica_id}",
            )


def quarantined(view: View) -> Iterator[Found]:
    """A replica gets no work, for what it did with it."""
    for replica in view.latest.replicas if view.latest else ():
        if replica.state == "quarantined":
            yield Found(
                f"replica {replica.replica_id} is quarantined: {replica.reason}", f"replicas/{replica.replica_id}"
            )


def slow(view: View) -> Iterator[Found]:
    """A replica is far behind the others of its pool."""
    by_pool: dict[str, list[ReplicaFigures]] = {}
    for replica in view.latest.replicas if view.latest else ():
        if replica.HasField("tokens_per_s") and replica.state == "ready" and replica.branches:
            by_pool.setdefault(replica.pool, []).append(replica)
    for members in by_pool.values():
        usual = median(replica.tokens_per_s for replica in members)
        for replica in members if len(members) >= SLOW_AMONG else ():
            if replica.tokens_per_s < SLOW * usual:
                yield Found(
                    f"replica {replica.replica_id} makes {replica.tokens_per_s:,.0f} tokens/s, "
                    f"{replica.tokens_per_s / usual:.0%} of the median of its pool, over 2 min",
                    f"replicas/{replica.replica_id}",
                )


def scorer_failing(view: View) -> Iterator[Found]:
    """Leaves have no reward because scorers fail."""
    growth = view.since(RECENT_S)
    if growth is None or growth.of("leaves") < FEW_SCORES:
        return
    share = growth.share("reward_errors", "leaves")
    if share > SCORE_ERRORS:
        worst = max(growth.last.scorers, key=lambda scorer: scorer.failed, default=None)
        why = f"; {worst.scorer} says: {worst.error}" if worst is not None and worst.error else ""
        yield Found(f"{share:.1%} of the leaves of the last {duration(growth.seconds)} have no reward{why}", "runs")


def waste_high(view: View) -> Iterator[Found]:
    """Much of what is made is in no sample."""
    growth = view.since(RECENT_S)
    if growth is None or growth.of("spent") < FEW_TOKENS:
        return
    share = growth.share("wasted_tokens", "spent")
    if share > WASTE:
        cause = max(CAUSES, key=growth.of)
        part = growth.share(cause, "wasted_tokens")
        yield Found(
            f"{share:.0%} of the tokens of the last {duration(growth.seconds)} are in no sample; {part:.0%} of these "
            f"{CAUSES[cause]}",
            "runs",
        )


def no_signal(view: View) -> Iterator[Found]:
    """Trees from which nothing can be learnt."""
    growth = view.since_trees(NO_SIGNAL_OF)
    if growth is None:
        return
    share = growth.share("trees_without_signal", "scored_trees")
    if share >= NO_SIGNAL:
        yield Found(
            f"{share:.0%} of the last {growth.of('scored_trees'):,} scored trees have no signal: all their leaves have "
            "one advantage, 0",
            "runs",
        )


def thrash(view: View) -> Iterator[Found]:
    """Engines throw prefixes away that they need again."""
    growth = view.since(RECENT_S)
    for before, pool in growth.pools() if growth is not None and growth.seconds else ():
        per_s = (pool.preempted - before.preempted) / growth.seconds if growth is not None else 0.0
        if per_s > PREEMPTIONS_PER_S and pool.kv_usage_max > KV_FULL:
            yield Found(
                f"{_pool(pool.name)} preempts {per_s:.1f} requests/s, with a KV cache of {pool.kv_usage_max:.0%}: "
                "give its replicas fewer slots",
                "replicas",
            )


def credit_stops(view: View) -> Iterator[Found]:
    """Branches stop because answers come later than two of their segments take."""
    growth = view.since(RECENT_S)
    for before, pool in growth.pools() if growth is not None else ():
        ended = sum(getattr(pool, name) - getattr(before, name) for name in GRANTS)
        stopped = pool.credit_grants - before.credit_grants
        if ended >= FEW_GRANTS and stopped > CREDIT_STOPS * ended:
            commit_s = growth.last.loop.commit_s.max if growth is not None else 0.0
            yield Found(
                f"{stopped / ended:.1%} of the grants of {_pool(pool.name)} stopped in the last {duration(RECENT_S)} "
                f"for no answer had come in time: make segments longer, or the store faster (longest commit "
                f"{1000 * commit_s:,.0f} ms)",
                "replicas",
            )


def budget_nearly_spent(view: View) -> Iterator[Found]:
    """A run will end by its budget."""
    for run in view.latest.runs if view.latest else ():
        if run.state == "cancelled" or not (run.waiting or run.growing or run.state == "open"):
            continue
        for cap in run.caps:
            if cap.limit and cap.spent > BUDGET * cap.limit:
                used = f"{cap.spent:,} of {cap.limit:,} {cap.resource.replace('_', ' ')}"
                yield Found(f"run {run.run_id} has spent {used}", f"runs/{run.run_id}")


def draining(view: View) -> Iterator[Found]:
    """Nothing new is taken."""
    if view.latest is not None and view.latest.draining:
        yield Found("the service drains: no tree starts and no task is taken until `treeroll undrain`")


def idle_slots(view: View) -> Iterator[Found]:
    """Room is left that waiting tasks could have."""
    points = view.all_within(IDLE_S)
    if len(points) < IDLE_S / 2 or not all(point.waiting_tasks for point in points):
        return
    for number, pool in enumerate(points[-1].pools):
        free = [_free_share(point.pools[number]) for point in points if len(point.pools) > number]
        if min(free) > IDLE_SLOTS:
            yield Found(
                f"{min(free):.0%} of the slots of {_pool(pool.name)} are idle while {points[-1].waiting_tasks:,} tasks "
                "wait: see what holds them up on the run's page",
                "runs",
            )


def _free_share(pool: PoolFigures) -> float:
    busy = pool.running + pool.waiting_engine + pool.stopping
    return 1.0 - busy / pool.slots if pool.slots else 0.0


RULES = (
    Rule("InvariantBroken", Severity.PAGE, broken, needs_news=False),
    Rule("CoordinatorSilent", Severity.PAGE, silent, needs_news=False),
    Rule("StoreAway", Severity.PAGE, store_away, needs_news=False),
    Rule("StoreEvicting", Severity.PAGE, store_evicts, needs_news=False),
    Rule("StoreFull", Severity.PAGE, store_full),
    Rule("NoReplica", Severity.PAGE, no_replica),
    Rule("Stalled", Severity.PAGE, stalled),
    Rule("FeedBlocked", Severity.WARN, feed_blocked),
    Rule("ReplicaFlapping", Severity.WARN, flapping),
    Rule("ReplicaQuarantined", Severity.WARN, quarantined),
    Rule("ReplicaSlow", Severity.WARN, slow),
    Rule("StoreFilling", Severity.WARN, store_filling),
    Rule("ScorerFailing", Severity.WARN, scorer_failing),
    Rule("WasteHigh", Severity.WARN, waste_high),
    Rule("NoSignal", Severity.WARN, no_signal),
    Rule("KvThrash", Severity.WARN, thrash),
    Rule("CreditStops", Severity.WARN, credit_stops),
    Rule("BudgetNearlySpent", Severity.INFO, budget_nearly_spent),
    Rule("Draining", Severity.INFO, draining),
    Rule("IdleSlots", Severity.ADVICE, idle_slots),
)
"""Worst first."""


def _pool(name: str) -> str:
    return f"pool '{name}'" if name else "the fleet"


def duration(seconds: float) -> str:
    """ "12 s", "4 min", "3 h", "2 days"."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
