"""Alerts: the rules of the verdict as Prometheus evaluates them, and what to do when one fires.

deploy/prometheus/rules.yaml and docs/runbook.md are made from this:

    python -m treeroll.metrics.alerts rules > deploy/prometheus/rules.yaml
    python -m treeroll.metrics.alerts runbook > docs/runbook.md
"""

import sys
from dataclasses import dataclass
from textwrap import wrap

from treeroll.watch.rules import RULES, Rule

_HERE = "on (job, instance)"
_BY = "sum by (job, instance)"
# Tokens a second of replicas that had work all the time, each.
_MADE = "(rate(treeroll_replica_tokens_total[5m]) and min_over_time(treeroll_replica_kv_usage_ratio[5m]) > 0)"


@dataclass(frozen=True, slots=True)
class Alert:
    """`lasts`: how long the expression must hold. Expressions compare what one exporter says, by `job` and "
    "`instance`."""

    expr: str
    lasts: str
    means: str
    do: str


ALERTS = {
    "InvariantBroken": Alert(
        "treeroll_invariant_violations_total > 0",
        "0s",
        "A named promise of docs/guarantees.md was seen broken. What was asked for then was refused, and nothing "
        "of it is stored.",
        "Run `treeroll audit`, keep the service's log, and report both: this is a fault of treeroll. The service "
        "goes on.",
    ),
    "CoordinatorSilent": Alert(
        "(time() - treeroll_snapshot_timestamp_seconds > 10) or absent(treeroll_snapshot_timestamp_seconds)",
        "15s",
        "No coordinator has said how it is for 10 s. Replicas stop at the end of their credit, and lose their "
        "branches after "
        "`coordinator.lease_s`.",
        "`treeroll top --once --store URL` shows its last news, host and process. See whether that lives; if "
        "not, start the service "
        "again on its store: it goes on with every run.",
    ),
    "StoreAway": Alert(
        "treeroll_store_up == 0",
        "15s",
        "Redis does not answer who exports the metrics. If it does not answer the service either, trees stop "
        "growing until it does; "
        "nothing is lost.",
        "See whether Redis runs and can be reached, and its log.",
    ),
    "StoreEvicting": Alert(
        "treeroll_store_evicted_keys_total > 0",
        "0s",
        "Redis has thrown keys away to make room: trees or accounts may be gone.",
        "Set `maxmemory-policy noeviction`, without which the service would not have started, and find who "
        "changed it. Run "
        "`treeroll audit`.",
    ),
    "StoreFull": Alert(
        'treeroll_store_memory_bytes{kind="used"} / ignoring (kind) treeroll_store_memory_bytes{kind="limit"} > 0.9',
        "0s",
        "Redis has used 90 % of its memory: no tree starts and no task is taken. What grows comes to its end.",
        "Raise its `maxmemory`, delete finished runs with `treeroll delete`, or let acknowledged trees go sooner "
        "(`store.keep_acknowledged_s`).",
    ),
    "NoReplica": Alert(
        f'treeroll_replicas{{state="ready"}} == 0 and {_HERE} '
        f'(treeroll_tasks_waiting > 0 or {_BY} (treeroll_branches{{state="slot"}}) > 0)',
        "2m",
        "Work waits for a pool that has no replica which takes any.",
        "`treeroll status` says why each was lost. See the replicas' logs: an engine that does not start says "
        "there what it lacks.",
    ),
    "Stalled": Alert(
        f"{_BY} (rate(treeroll_generated_tokens_total[2m])) == 0 and {_HERE} "
        f'{_BY} (min_over_time(treeroll_branches{{state="running"}}[2m])) > 0',
        "0s",
        "Branches run, and no segment of any has come for two minutes.",
        "See whether engines make tokens (`treeroll top`: tok/s). If they do, segments are very long; if not, "
        "see the engines' logs.",
    ),
    "FeedBlocked": Alert(
        "treeroll_feed_stuck_seconds > 300",
        "0s",
        "A consumer group has trees to take and has acknowledged none for five minutes.",
        "See whether its trainer lives. A group that nobody will consume any more keeps its trees: delete its "
        "run when that is done.",
    ),
    "ReplicaFlapping": Alert(
        "increase(treeroll_replica_losses_total[15m]) >= 3",
        "0s",
        "Replicas of a pool were lost three times in a quarter of an hour. Branches are granted again, and a "
        "part is decoded twice.",
        "`treeroll top --json` names them and why each was lost (`lost_cause`).",
    ),
    "ReplicaQuarantined": Alert(
        'treeroll_replicas{state="quarantined"} > 0',
        "5m",
        "A replica gets no work, for what it reported could not be, or its branches failed.",
        "`treeroll status` says what it did. One that reports impossible numbers has a broken device or engine: "
        "take it away.",
    ),
    "ReplicaSlow": Alert(
        f"{_MADE} < on (job, pool) group_left () 0.5 * quantile by (job, pool) (0.5, {_MADE}) "
        f"and on (job, pool) count by (job, pool) ({_MADE}) >= 3",
        "5m",
        "A replica makes less than half of the tokens that those of its pool usually make, of three or more that have "
        "work. Says nothing where replicas are not scraped (`generator.metrics`), and takes those that are scraped "
        "without a label `pool`, as deploy/prometheus/scrape.yaml gives them, for one pool.",
        "See its host: another process on its GPU, a GPU that is throttled, a slow network. `treeroll fleet drain "
        "REPLICA` has its work done elsewhere.",
    ),
    "StoreFilling": Alert(
        'treeroll_store_memory_bytes{kind="used"} / ignoring (kind) treeroll_store_memory_bytes{kind="limit"} > 0.8',
        "10m",
        "Redis has used 80 % of its memory. At 90 % no tree starts.",
        "As for StoreFull, in time.",
    ),
    "ScorerFailing": Alert(
        "rate(treeroll_reward_errors_total[5m]) / rate(treeroll_leaves_total[5m]) > 0.01 "
        "and increase(treeroll_leaves_total[5m]) >= 100",
        "0s",
        "More than 1 % of the leaves of five minutes have no reward, because a scorer failed.",
        "`treeroll top --json` has the last error of each scorer. Leaves without a reward are no samples of it: "
        "mend it soon.",
    ),
    "WasteHigh": Alert(
        f"{_BY} (rate(treeroll_wasted_tokens_total[10m])) / {_BY} (rate(treeroll_generated_tokens_total[10m])) > 0.2",
        "10m",
        "More than a fifth of all tokens is in no sample.",
        "Look at `treeroll_wasted_tokens_total` by cause: pruned is a choice of the run's policies; censored are "
        "budgets, deadlines and "
        "cancelled runs; late and past_boundary say that answers come late.",
    ),
    "NoSignal": Alert(
        "increase(treeroll_trees_without_signal_total[30m]) / increase(treeroll_scored_trees_total[30m]) >= 0.5 "
        "and increase(treeroll_scored_trees_total[30m]) >= 100",
        "0s",
        "Half of the trees or more have no token with an advantage: nothing can be learnt from them.",
        "The tasks are too easy or too hard for the model as it is, or a scorer says the same of everything. An "
        "allocator "
        "(docs/budgets.md) sends leaves where outcomes differ.",
    ),
    "CreditStops": Alert(
        'sum by (job, instance, pool) (rate(treeroll_grants_total{outcome="credit"}[5m])) / '
        "sum by (job, instance, pool) (rate(treeroll_grants_total[5m])) > 0.01",
        "5m",
        "Branches stop at boundaries because the coordinator answers later than two of their segments take.",
        "Make segments longer, or see what slows commits (`treeroll_commit_duration_seconds`): a slow disk of "
        "Redis, mostly.",
    ),
    "KvThrash": Alert(
        "rate(treeroll_replica_preemptions_total[5m]) > 0.1 and treeroll_replica_kv_usage_ratio > 0.9",
        "5m",
        "A replica's KV cache is full, and its engine interrupts requests and computes them again. Says nothing where "
        "replicas are not scraped (`generator.metrics`).",
        "Give engines more KV cache (`generator.kv_cache_gib`, `gpu_memory_utilization`), or fewer slots; "
        "`coordinator.kv_hold` lower starts fewer trees.",
    ),
    "BudgetNearlySpent": Alert(
        'treeroll_run_budget{state="spent"} / ignoring (state) treeroll_run_budget{state="limit"} > 0.95',
        "0s",
        "A run has spent 95 % of what it may use.",
        "Nothing: it ends by its budget, with partial trees. A run's budget cannot be raised.",
    ),
}
"""By rule, in whose order they are written."""

NONE = {
    "Draining": "somebody wanted it so",
    "IdleSlots": "it is advice",
}
"""Rules that are no alerts, and why."""


def _alerting() -> list[tuple[Rule, Alert]]:
    return [(rule, ALERTS[rule.name]) for rule in RULES if rule.name in ALERTS]


def rules() -> str:
    """The file of rules for Prometheus."""
    lines = [
        "# Made by `python -m treeroll.metrics.alerts rules`; do not edit.",
        "groups:",
        "  - name: treeroll",
        "    rules:",
    ]
    for rule, alert in _alerting():
        lines += [
            f"      - alert: Treeroll{rule.name}",
            "        expr: >-",
            *_folded(alert.expr, 10),
            f"        for: {alert.lasts}",
            f"        labels: {{severity: {rule.severity.value}}}",
            "        annotations:",
            "          summary: >-",
            *_folded(alert.means, 12),
            f"          runbook: docs/runbook.md#{rule.name.lower()}",
        ]
    return "\n".join([*lines, ""])


def _folded(text: str, indent: int) -> list[str]:
    return [" " * indent + line for line in wrap(text, 110, break_long_words=False, break_on_hyphens=False)]


_HEAD = """# Runbook

Made by `python -m treeroll.metrics.alerts runbook`. Each of these is a rule of the verdict that `treeroll top` and
`treeroll status --check` show, and an alert of `deploy/prometheus/rules.yaml`, which adds `Treeroll` before its name.
The word before each says what it wants: `page` now, `warn` today, `info` nothing.
"""


def runbook() -> str:
    """The page about them."""
    parts = [_HEAD]
    for rule, alert in _alerting():
        when = rule.severity.value + (f", after {alert.lasts}" if alert.lasts != "0s" else "")
        parts.append(f"## {rule.name}\n\n*{when}*. {alert.means}\n\n{alert.do}\n\n```\n{alert.expr}\n```\n")
    parts.append("## Rules without an alert\n\n" + "\n".join(f"- {name}: {why}." for name, why in NONE.items()) + "\n")
    return "\n".join(parts)


def main() -> None:
    """Print what is asked for."""
    print({"rules": rules, "runbook": runbook}[sys.argv[1]](), end="")


if __name__ == "__main__":
    main()
