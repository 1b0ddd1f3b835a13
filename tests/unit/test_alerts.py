"""Alerts, as Prometheus evaluates them: each fires where it should and is quiet where it should be."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.promtool import promtool

from treeroll.metrics import alerts
from treeroll.metrics.alerts import ALERTS, NONE
from treeroll.metrics.catalogue import CATALOGUE, REPLICA_CATALOGUE
from treeroll.watch.rules import RULES

ROOT = Path(__file__).parents[2]
RULES_FILE = ROOT / "deploy" / "prometheus" / "rules.yaml"
TARGET = 'job="treeroll",instance="a"'
AT = "40m"

Series = dict[str, str]
USED, LIMIT = 'store_memory_bytes{kind="used"}', 'store_memory_bytes{kind="limit"}'
READY, RUNNING = 'replicas{state="ready"}', 'branches{state="running"}'
SPENT, CAP = (
    'run_budget{run="r",resource="tokens",state="spent"}',
    'run_budget{run="r",resource="tokens",state="limit"}',
)
LATE, PRUNED = 'wasted_tokens_total{cause="late"}', 'wasted_tokens_total{cause="pruned"}'
CREDIT, FINISHED = 'grants_total{pool="p",outcome="credit"}', 'grants_total{pool="p",outcome="finished"}'


def pool(*tokens: int, idle: bool = False) -> Series:
    """Replicas of one pool that make so many tokens each 15 s, and one that makes one and has nothing else to do."""
    made = {f'replica_tokens_total{{pool="p",replica="{number}"}}': f"0+{n}x200" for number, n in enumerate(tokens)}
    busy = {name.replace("tokens_total", "kv_usage_ratio"): "0.5x200" for name in made}
    rests = {
        'replica_tokens_total{pool="p",replica="idle"}': "0+1x200",
        'replica_kv_usage_ratio{pool="p",replica="idle"}': "0x200",
    }
    return made | busy | (rests if idle else {})


# Values are those of Prometheus' tests: "a+bxn" begins at a and grows by b, n times, every 15 s.
CASES: dict[str, tuple[Series, Series]] = {
    "InvariantBroken": ({'invariant_violations_total{invariant="Bounded"}': "1x200"}, {"epoch": "1x200"}),
    "CoordinatorSilent": (
        {"snapshot_timestamp_seconds": "0+15x100 1500x100"},
        {"snapshot_timestamp_seconds": "0+15x200"},
    ),
    "StoreAway": ({"store_up": "1x150 0x50"}, {"store_up": "1x200"}),
    "StoreEvicting": ({"store_evicted_keys_total": "3x200"}, {"store_evicted_keys_total": "0x200"}),
    "StoreFull": ({USED: "91x200", LIMIT: "100x200"}, {USED: "89x200", LIMIT: "100x200"}),
    "StoreFilling": ({USED: "81x200", LIMIT: "100x200"}, {USED: "79x200", LIMIT: "100x200"}),
    "NoReplica": ({READY: "0x200", "tasks_waiting": "5x200"}, {READY: "0x200", "tasks_waiting": "0x200"}),
    "Stalled": (
        {"generated_tokens_total": "0+9x100 900x100", RUNNING: "4x200"},
        {"generated_tokens_total": "0+9x100 900x100", RUNNING: "0x200"},
    ),
    "FeedBlocked": ({'feed_stuck_seconds{group="g"}': "301x200"}, {'feed_stuck_seconds{group="g"}': "300x200"}),
    "ReplicaFlapping": (
        {'replica_losses_total{pool="p"}': "0x150 1 2 3 4x50"},
        {'replica_losses_total{pool="p"}': "0x150 1 2x50"},
    ),
    "ReplicaQuarantined": ({'replicas{state="quarantined"}': "1x200"}, {'replicas{state="quarantined"}': "0x200"}),
    "ReplicaSlow": (pool(900, 400, 1000), pool(900, 500, 1000, idle=True)),
    "ScorerFailing": (
        {"reward_errors_total": "0+1x200", "leaves_total": "0+50x200"},
        {"reward_errors_total": "0+1x200", "leaves_total": "0+200x200"},
    ),
    "WasteHigh": (
        {LATE: "0+15x200", PRUNED: "0+10x200", "generated_tokens_total": "0+100x200"},
        {LATE: "0+10x200", PRUNED: "0+5x200", "generated_tokens_total": "0+100x200"},
    ),
    "NoSignal": (
        {"trees_without_signal_total": "0+3x200", "scored_trees_total": "0+5x200"},
        {"trees_without_signal_total": "0+2x200", "scored_trees_total": "0+5x200"},
    ),
    "CreditStops": ({CREDIT: "0+2x200", FINISHED: "0+98x200"}, {CREDIT: "0+1x200", FINISHED: "0+199x200"}),
    "KvThrash": (
        {"replica_preemptions_total": "0+2x200", "replica_kv_usage_ratio": "0.95x200"},
        {"replica_preemptions_total": "0+2x200", "replica_kv_usage_ratio": "0.85x200"},
    ),
    "BudgetNearlySpent": ({SPENT: "96x200", CAP: "100x200"}, {SPENT: "95x200", CAP: "100x200"}),
}


def series(told: Series) -> list[dict[str, str]]:
    """With the names and labels that they have in a scrape."""
    found = []
    for name, values in told.items():
        bare, _, labels = name.partition("{")
        inside = f"{labels.rstrip('}')},{TARGET}" if labels else TARGET
        found.append({"series": f"treeroll_{bare}{{{inside}}}", "values": values})
    return found


def case(name: str, told: Series, fires: bool) -> dict[str, Any]:
    """One test of promtool."""
    expr = f'count(ALERTS{{alertname="Treeroll{name}",alertstate="firing"}})'
    expected = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "name": f"{name} {'fires' if fires else 'is quiet'}",
        "interval": "15s",
        "input_series": series(told),
        "promql_expr_test": [{"expr": expr, "eval_time": AT, "exp_samples": expected}],
    }


def test_alerts_fire_where_they_should_and_are_quiet_where_they_should_be(tmp_path: Path) -> None:
    tests = [
        case(name, told, fires) for name, both in CASES.items() for told, fires in zip(both, (True, False), strict=True)
    ]
    file = tmp_path / "tests.yaml"
    file.write_text(json.dumps({"rule_files": [str(RULES_FILE)], "evaluation_interval": "15s", "tests": tests}))
    ran = promtool(["test", "rules", str(file)])
    assert ran.returncode == 0, (ran.stdout + ran.stderr).decode()


def test_an_exporter_that_is_gone_is_silence(tmp_path: Path) -> None:
    file = tmp_path / "tests.yaml"
    test = case("CoordinatorSilent", {"epoch": "1x200"}, fires=True)
    file.write_text(json.dumps({"rule_files": [str(RULES_FILE)], "evaluation_interval": "15s", "tests": [test]}))
    ran = promtool(["test", "rules", str(file)])
    assert ran.returncode == 0, (ran.stdout + ran.stderr).decode()


def test_two_replicas_have_no_usual_speed(tmp_path: Path) -> None:
    file = tmp_path / "tests.yaml"
    test = case("ReplicaSlow", pool(900, 100, idle=True), fires=False)
    file.write_text(json.dumps({"rule_files": [str(RULES_FILE)], "evaluation_interval": "15s", "tests": [test]}))
    ran = promtool(["test", "rules", str(file)])
    assert ran.returncode == 0, (ran.stdout + ran.stderr).decode()


def test_a_wrong_expectation_fails_so_that_the_others_say_something(tmp_path: Path) -> None:
    file = tmp_path / "tests.yaml"
    test = case("StoreFull", CASES["StoreFull"][1], fires=True)
    file.write_text(json.dumps({"rule_files": [str(RULES_FILE)], "evaluation_interval": "15s", "tests": [test]}))
    assert promtool(["test", "rules", str(file)]).returncode != 0


def test_prometheus_takes_the_file() -> None:
    ran = promtool(["check", "rules", str(RULES_FILE)])
    assert ran.returncode == 0, (ran.stdout + ran.stderr).decode()


def test_every_rule_is_an_alert_or_says_why_it_is_none_and_every_alert_is_tested() -> None:
    assert set(ALERTS) | set(NONE) == {rule.name for rule in RULES}
    assert not set(ALERTS) & set(NONE)
    assert set(CASES) == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_names_metrics_and_labels_of_the_catalogue_only(name: str) -> None:
    labels = {metric.full_name: set(metric.labels) for metric in (*CATALOGUE, *REPLICA_CATALOGUE)}
    used = re.findall(r"(treeroll_\w+)(?:\{([^}]*)\})?", ALERTS[name].expr)
    assert used
    for metric, inside in used:
        assert metric in labels
        assert set(re.findall(r"(\w+)=", inside)) <= labels[metric]


@pytest.mark.parametrize(
    ("file", "made"),
    [(RULES_FILE, alerts.rules), (ROOT / "docs" / "runbook.md", alerts.runbook)],
    ids=["rules", "runbook"],
)
def test_what_is_made_from_the_table_is_current(file: Path, made: Any) -> None:
    assert file.read_text() == made(), "run: python -m treeroll.metrics.alerts, see there"


def test_each_alert_has_its_section_in_the_runbook() -> None:
    text = alerts.runbook()
    for name in re.findall(r"runbook: docs/runbook.md#(\w+)", alerts.rules()):
        assert re.search(rf"^## {name}$", text, re.MULTILINE | re.IGNORECASE)
