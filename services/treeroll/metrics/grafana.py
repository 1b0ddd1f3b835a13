"""The Grafana dashboard of a service, from a table of panels: deploy/grafana/treeroll.json.

    python -m treeroll.metrics.grafana > deploy/grafana/treeroll.json

Panels name metrics of the catalogue and nothing else, and a test holds them to it. Rows are in the order in which one
looks: is work done, how long does it take, what waits, what is amiss.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

UID: Final = "treeroll"
# A panel's width and height in Grafana's grid, which is 24 wide.
WIDTH, HEIGHT, GRID = 8, 7, 24
EACH, OF_EACH = "replica, instance", "{{replica}} {{instance}}"


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart: its lines as expression and legend, and the unit as Grafana names it."""

    title: str
    lines: tuple[tuple[str, str], ...]
    unit: str = "short"
    about: str = ""


def _rate(metric: str, by: str = "") -> str:
    return f"sum {f'by ({by}) ' if by else ''}(rate({metric}[$__rate_interval]))"


def _quantile(share: float, metric: str) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket[$__rate_interval])))"


ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Throughput": (
        Panel("Tokens", ((_rate("treeroll_generated_tokens_total"), "generated"),), "short", "a second"),
        Panel(
            "Leaves",
            ((_rate("treeroll_leaves_total"), "complete"), (_rate("treeroll_effective_leaves_total"), "effective")),
            "short",
            "a second; effective: with an advantage",
        ),
        Panel("Trees that ended", ((_rate("treeroll_trees_total", "status"), "{{status}}"),), "short", "a second"),
        Panel(
            "Waste",
            (
                (
                    f"{_rate('treeroll_wasted_tokens_total', 'cause')} / ignoring (cause) group_left "
                    f"{_rate('treeroll_generated_tokens_total')}",
                    "{{cause}}",
                ),
            ),
            "percentunit",
            "of generated tokens, in no sample",
        ),
        Panel(
            "Prefixes",
            ((_rate("treeroll_prefix_tokens_total", "kind"), "{{kind}}"),),
            "short",
            "tokens a second that engines found in their caches, or computed again",
        ),
        Panel("Forks", ((_rate("treeroll_forks_total"), "forks"), (_rate("treeroll_regrants_total"), "regrants"))),
    ),
    "Latency": (
        Panel(
            "Commits",
            tuple((_quantile(q, "treeroll_commit_duration_seconds"), f"p{q * 100:.0f}") for q in (0.5, 0.99)),
            "s",
        ),
        Panel(
            "Decisions",
            tuple((_quantile(q, "treeroll_decision_duration_seconds"), f"p{q * 100:.0f}") for q in (0.5, 0.99)),
            "s",
            "from the first event of a tick to when all that follows is on its way",
        ),
        Panel("Loop", (("treeroll_loop_lag_seconds", "late by"),), "s", "longest in the last second"),
    ),
    "Fleet": (
        Panel("Replicas", (('sum by (state) (treeroll_replicas{pool=~"$pool"})', "{{state}}"),)),
        Panel(
            "Fullest KV cache",
            (('max by (pool) (treeroll_kv_usage_max_ratio{pool=~"$pool"})', "{{pool}}"),),
            "percentunit",
        ),
        Panel(
            "Losses",
            (('sum by (pool) (increase(treeroll_replica_losses_total{pool=~"$pool"}[15m]))', "{{pool}}"),),
            "short",
            "in 15 minutes",
        ),
    ),
    "Queues": (
        Panel("Branches", (('sum by (state) (treeroll_branches{pool=~"$pool"})', "{{state}}"),)),
        Panel("Work", (("treeroll_trees_growing", "trees that grow"), ("treeroll_tasks_waiting", "tasks that wait"))),
        Panel("Scoring", (("treeroll_scoring_waiting", "paths that wait"),)),
        Panel(
            "Budget",
            (('treeroll_run_budget{run=~"$run"}', "{{run}} {{resource}} {{state}}"),),
            "short",
            "of runs that have one",
        ),
        Panel("Groups without an acknowledgement", (('treeroll_feed_stuck_seconds{run=~"$run"}', "{{group}}"),), "s"),
        Panel("Store", (("treeroll_store_memory_bytes", "{{kind}}"),), "bytes"),
    ),
    # Where they are scraped themselves: by their address, and by the name that service discovery gives with it.
    "Replicas": (
        Panel("Tokens of each", ((_rate("treeroll_replica_tokens_total", EACH), OF_EACH),), "short", "a second"),
        Panel("KV cache of each", ((f"max by ({EACH}) (treeroll_replica_kv_usage_ratio)", OF_EACH),), "percentunit"),
        Panel("Preemptions", ((_rate("treeroll_replica_preemptions_total", EACH), OF_EACH),), "short", "a second"),
        Panel(
            "Segments that are not durable",
            ((f"max by ({EACH}) (treeroll_replica_unacked_segments)", OF_EACH),),
            "short",
            "as many as grow while the coordinator is away",
        ),
        Panel(
            "Looking for a coordinator",
            (('sum by (state) (treeroll_replica_state{state!="ready"})', "{{state}}"),),
            "short",
            "replicas by state, without those that work",
        ),
        Panel(
            "Connected again",
            ((f"sum by ({EACH}) (increase(treeroll_replica_reconnects_total[15m]))", OF_EACH),),
            "short",
            "in 15 minutes",
        ),
    ),
    "Amiss": (
        Panel("Promises broken", (("treeroll_invariant_violations_total", "{{invariant}}"),)),
        Panel(
            "Errors",
            (
                (_rate("treeroll_reward_errors_total"), "of scorers"),
                (_rate("treeroll_engine_errors_total"), "of engines"),
                (_rate("treeroll_policy_errors_total"), "of policies"),
            ),
            "short",
            "a second",
        ),
        Panel("Age of the news", (("time() - treeroll_snapshot_timestamp_seconds", "snapshot"),), "s"),
    ),
}


def dashboard() -> dict[str, Any]:
    """As Grafana reads it."""
    return {
        "uid": UID,
        "title": "treeroll",
        "tags": ["treeroll"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [*_variables()]},
        "panels": [*_panels()],
    }


def _variables() -> Iterator[dict[str, Any]]:
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    yield {**source, "current": {}}
    for name, metric in (("pool", "treeroll_replicas"), ("run", "treeroll_run_tasks")):
        yield {
            "name": name,
            "type": "query",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "query": f"label_values({metric}, {name})",
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
            "refresh": 2,
        }


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for title, panels in ROWS.items():
        number += 1
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": _place(0, y)}
        y += 1
        for place, panel in enumerate(panels):
            number += 1
            row, column = divmod(place * WIDTH, GRID)
            yield _panel(number, panel, column, y + row * HEIGHT)
        y += -(-len(panels) * WIDTH // GRID) * HEIGHT


def _place(x: int, y: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": GRID, "h": 1}


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend}
            for place, (expression, legend) in enumerate(panel.lines)
        ],
    }


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    print(text(), end="")
