"""All metrics of a service: names, kinds, labels with their bounds, and where each value comes from.

docs/metrics.md is made from this, and a test holds a real scrape against it. Counters of the whole service begin anew
with each epoch of its coordinator, those of a run are of its whole life.
"""

from treeroll.metrics import readings
from treeroll.metrics.metric import Kind, Metric, Seen
from treeroll.metrics.readings import BRANCHES, ENDS, MOST_GROUPS, MOST_RUNS, MOST_SCORERS, REPLICA_STATES, WASTE
from treeroll.metrics.replica import STATES, ReplicaSeen

POOL = "pool of replicas, as configured"
RUN = f"the {MOST_RUNS} newest runs that take tasks or grow trees, then others"
GROUP = f"consumer group; of the {MOST_GROUPS} that have most trees waiting, the rest together as `other`"
SCORER = (
    f"scorer or judge, by the name that runs give it; of the {MOST_SCORERS} that are asked most, the rest as `other`"
)
_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_IN_RUNS = "there are runs"
_LOOKED = "who exports looks at the store itself"

CATALOGUE: tuple[Metric[Seen], ...] = (
    # What is made
    Metric("generated_tokens_total", _C, "Tokens that engines made.", readings.total("spent")),
    Metric(
        "wasted_tokens_total", _C, "Of these, tokens in no sample.", readings.totals(WASTE), {"cause": ", ".join(WASTE)}
    ),
    Metric(
        "lost_tokens_bound_total",
        _C,
        "At most so many tokens were lost with replicas.",
        readings.total("lost_tokens_max"),
    ),
    Metric("tasks_total", _C, "Tasks that were submitted.", readings.total("submitted")),
    Metric(
        "trees_total",
        _C,
        "Trees that ended.",
        readings.totals({"finished": "finished", "failed": "failed", "filtered": "filtered"}),
        {"status": "finished, failed, filtered"},
    ),
    Metric("scored_trees_total", _C, "Trees that ended with a reward.", readings.total("scored_trees")),
    Metric(
        "trees_without_signal_total",
        _C,
        "Of these, ones in which no token has an advantage.",
        readings.total("trees_without_signal"),
    ),
    Metric("leaves_total", _C, "Complete leaves.", readings.total("leaves")),
    Metric(
        "effective_leaves_total",
        _C,
        "Leaves of trees that ended with a token that has an advantage.",
        readings.total("effective_leaves"),
    ),
    Metric("forks_total", _C, "Forks.", readings.total("forks")),
    Metric("regrants_total", _C, "Branches that were granted again after a loss.", readings.total("regrants")),
    Metric(
        "prefix_tokens_total",
        _C,
        "Tokens of prefixes, by what engines had to do for them.",
        readings.totals({"cached": "cached_tokens", "recomputed": "recomputed_tokens"}),
        {"kind": "cached, recomputed"},
    ),
    Metric(
        "fork_recomputed_tokens_total",
        _C,
        "Of the recomputed ones, those of forks.",
        readings.total("fork_recomputed_tokens"),
    ),
    Metric("fork_requests_total", _C, "Requests of forks.", readings.total("fork_requests")),
    Metric("reward_errors_total", _C, "Leaves and paths that scorers failed.", readings.total("reward_errors")),
    Metric("engine_errors_total", _C, "Requests that engines refused or failed.", readings.total("engine_errors")),
    Metric(
        "policy_errors_total",
        _C,
        "Calls of policies that raised, or said what cannot be.",
        readings.total("policy_errors"),
    ),
    Metric(
        "rewards_total",
        _C,
        "Answers of scorers.",
        readings.scores,
        {"scorer": SCORER, "outcome": "scored, failed, abstained"},
        "something was scored",
    ),
    Metric(
        "score_duration_seconds",
        _H,
        "From handing a batch to the scorers to their answer.",
        readings.score_times,
        {"scorer": SCORER},
        "something was scored",
    ),
    # Fleet
    Metric(
        "branches",
        _G,
        "Branches by what they do or wait for.",
        readings.branches,
        {"pool": POOL, "state": ", ".join(BRANCHES)},
    ),
    Metric(
        "grants_total",
        _C,
        "Grants of branches that ended.",
        readings.grants,
        {"pool": POOL, "outcome": "finished, stopped, lost, credit (no answer came in time), held, drained"},
    ),
    Metric(
        "slots",
        _G,
        "Branches that the replicas of a pool decode at once.",
        readings.pools(lambda pool: pool.slots),
        {"pool": POOL},
    ),
    Metric("replicas", _G, "Replicas.", readings.replicas, {"pool": POOL, "state": ", ".join(REPLICA_STATES)}),
    Metric(
        "replicas_kept",
        _G,
        "Replicas that somebody keeps alive.",
        readings.kept,
        {"pool": POOL},
        "the service starts its replicas, or a fleet does",
    ),
    Metric(
        "autoscale_desired_replicas",
        _G,
        "Replicas that the demand of a pool asks for.",
        readings.desired,
        {"pool": POOL},
        "generator.autoscale is set, and a fleet has the pool",
    ),
    Metric(
        "autoscale_decisions_total",
        _C,
        "Times that a fleet was told to have another number of replicas, by what that number was bound by.",
        readings.scalings,
        {
            "pool": POOL,
            "reason": "stable, panic, panic hold, shrink delay, step, min, max, open run, trainer's rate, trainer's "
            "staleness; refused (the fleet could not be told)",
        },
        "such a decision was made",
    ),
    Metric("replica_losses_total", _C, "Times that replicas were lost.", readings.losses, {"pool": POOL}),
    Metric(
        "replica_ends_total",
        _C,
        "Times that replicas went, and were not lost.",
        readings.ends,
        {"pool": POOL, "how": ", ".join(ENDS)},
    ),
    Metric(
        "kv_usage_max_ratio",
        _G,
        "The fullest KV cache of a pool, 0 to 1.",
        readings.pools(lambda pool: pool.kv_usage_max),
        {"pool": POOL},
    ),
    Metric(
        "weight_version",
        _G,
        "Version of the weights in force.",
        readings.pools(lambda pool: pool.weight_version),
        {"pool": POOL},
    ),
    # Coordinator
    Metric("trees_growing", _G, "Trees that grow.", readings.own(lambda snapshot: snapshot.growing_trees)),
    Metric("tasks_waiting", _G, "Tasks without a tree yet.", readings.own(lambda snapshot: snapshot.waiting_tasks)),
    Metric(
        "runs",
        _G,
        "Runs that go on.",
        readings.totals({"open": "open_runs", "ending": "ending_runs"}),
        {"state": "open (they take tasks), ending (they grow trees still)"},
    ),
    Metric("inbox_items", _G, "Events that wait for the loop.", readings.own(lambda snapshot: snapshot.loop.inbox)),
    Metric(
        "scoring_waiting",
        _G,
        "Paths that no scorer has been given yet.",
        readings.own(lambda snapshot: snapshot.waiting_scores),
    ),
    Metric(
        "loop_lag_seconds",
        _G,
        "Longest that the event loop came late in the last second.",
        readings.own(lambda snapshot: snapshot.loop.lag_max_s),
    ),
    Metric(
        "commit_duration_seconds",
        _H,
        "From sending a commit to the store's answer.",
        readings.histogram(lambda snapshot: snapshot.loop.commit_s),
    ),
    Metric(
        "decision_duration_seconds",
        _H,
        "From the first event of a tick to when all that follows is on its way.",
        readings.histogram(lambda snapshot: snapshot.loop.decision_s),
    ),
    Metric(
        "tick_records", _H, "Records of a tick, about.", readings.histogram(lambda snapshot: snapshot.loop.tick_records)
    ),
    Metric(
        "fenced_reports_total",
        _C,
        "Reports of grants that were over, which were dropped.",
        readings.own(lambda snapshot: snapshot.loop.fenced_reports),
    ),
    Metric(
        "invariant_violations_total",
        _C,
        "Promises that were seen broken.",
        lambda seen: [((one.invariant,), one.times) for one in seen.snapshot.violations],
        {"invariant": "the names of docs/guarantees.md"},
        "a promise was broken",
    ),
    Metric("epoch", _G, "The coordinator's fencing number.", readings.own(lambda snapshot: snapshot.epoch)),
    Metric("draining", _G, "1 while the service takes no tasks.", readings.own(lambda snapshot: snapshot.draining)),
    Metric(
        "snapshot_timestamp_seconds",
        _G,
        "When the coordinator last said how it is, since the Unix epoch; 0: never.",
        readings.own(lambda snapshot: snapshot.at),
    ),
    Metric(
        "build_info",
        _G,
        "1.",
        lambda seen: [((seen.snapshot.version,), 1)] if seen.snapshot.version else [],
        {"version": "of treeroll"},
        "a coordinator has said how it is",
    ),
    # Runs
    Metric(
        "run_generated_tokens_total",
        _C,
        "Tokens that engines made for a run.",
        readings.runs(lambda run: run.ledger.spent),
        {"run": RUN},
        _IN_RUNS,
    ),
    Metric(
        "run_wasted_tokens_total",
        _C,
        "Of these, tokens in no sample.",
        readings.run_waste,
        {"run": RUN, "cause": ", ".join(WASTE)},
        _IN_RUNS,
    ),
    Metric(
        "run_leaves_total",
        _C,
        "Complete leaves of a run.",
        readings.runs(lambda run: run.leaves),
        {"run": RUN},
        _IN_RUNS,
    ),
    Metric(
        "run_tasks",
        _G,
        "Tasks of a run.",
        readings.run_trees,
        {"run": RUN, "state": "waiting, growing, finished, failed, filtered"},
        _IN_RUNS,
    ),
    Metric(
        "run_budget",
        _G,
        "What a run may use, has spent and has set aside.",
        readings.budgets,
        {"run": RUN, "resource": "tokens, leaves, expansions, tool_calls", "state": "limit, spent, outstanding"},
        "runs have budgets",
    ),
    Metric(
        "run_deadline_timestamp_seconds",
        _G,
        "When a run's time is over, since the Unix epoch.",
        readings.deadlines,
        {"run": RUN},
        "runs have deadlines",
    ),
    # Feed
    Metric(
        "feed_trees",
        _G,
        "Trees of a feed that are not acknowledged.",
        readings.feed_trees,
        {"run": "of the group, or `other`", "group": GROUP, "state": "waiting, leased"},
        "there are consumer groups",
    ),
    Metric(
        "feed_acknowledged_total",
        _C,
        "Trees that a group has acknowledged.",
        readings.feed_acknowledged,
        {"run": "of the group, or `other`", "group": GROUP},
        "there are consumer groups",
    ),
    Metric(
        "feed_stuck_seconds",
        _G,
        "For how long trees have waited while a group acknowledged none; 0 if none waits.",
        readings.feed_stuck,
        {"run": "of the group, or `other`", "group": GROUP},
        "there are consumer groups",
    ),
    # Store
    Metric(
        "store_outages_total",
        _C,
        "Times that the store took no writes.",
        readings.own(lambda snapshot: snapshot.loop.outages),
    ),
    Metric(
        "store_losses_total",
        _C,
        "Times that the store was found emptied or put back.",
        readings.own(lambda snapshot: snapshot.store_losses),
    ),
    Metric(
        "store_up",
        _G,
        "1 if the store answers who exports this.",
        readings.of_store(lambda store: store.up),
        when=_LOOKED,
    ),
    Metric(
        "store_memory_bytes",
        _G,
        "Memory of the store.",
        readings.store_memory,
        {"kind": "used, limit (if it has one)"},
        _LOOKED,
    ),
    Metric(
        "store_evicted_keys_total",
        _C,
        "Keys that the store threw away; more than 0 is loss.",
        readings.of_store(lambda store: store.evicted_keys),
        when=_LOOKED,
    ),
    Metric(
        "store_delayed_fsync_total",
        _C,
        "Writes that waited for the store's disk.",
        readings.of_store(lambda store: store.delayed_fsyncs),
        when=_LOOKED,
    ),
)

# What each replica says of itself, on a port of its own: who scrapes it knows which it is by its address.
REPLICA_CATALOGUE: tuple[Metric[ReplicaSeen], ...] = (
    Metric(
        "replica_info",
        _G,
        "1.",
        lambda seen: [((seen.replica, seen.pool, seen.version), 1)],
        {"replica": "its name", "pool": POOL, "version": "of treeroll"},
    ),
    Metric(
        "replica_state",
        _G,
        "1 for what it does now: its engine starts, it looks for its coordinator, it works, it finishes what it has.",
        lambda seen: [((state,), state == seen.state) for state in STATES],
        {"state": ", ".join(STATES)},
    ),
    Metric(
        "replica_unacked_segments",
        _G,
        "Segments that it keeps until the coordinator has made them durable.",
        lambda seen: [((), seen.unacked_segments)],
    ),
    Metric(
        "replica_reconnects_total",
        _C,
        "Times that a coordinator has welcomed it again.",
        lambda seen: [((), seen.reconnects)],
    ),
    Metric(
        "replica_kv_usage_ratio",
        _G,
        "Share of its KV cache that is in use, 0 to 1.",
        lambda seen: [((), seen.kv_usage)],
    ),
    Metric(
        "replica_preemptions_total",
        _C,
        "Requests that its engine had to interrupt.",
        lambda seen: [((), seen.preempted)],
    ),
    Metric("replica_tokens_total", _C, "Tokens that its engine made.", lambda seen: [((), seen.tokens)]),
)
