"""The Grafana dashboard: panels name metrics of the catalogue, with labels that they have, and the file is as made."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from treeroll.metrics import grafana
from treeroll.metrics.catalogue import CATALOGUE, REPLICA_CATALOGUE
from treeroll.metrics.metric import Kind, Metric

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = re.compile(r"treeroll_[a-z0-9_]+")
SELECTED = re.compile(r"(treeroll_[a-z0-9_]+)\{([^}]*)\}")
BY = re.compile(r"by \(([a-z, ]+)\)")
EXPRESSIONS = [
    pytest.param(expression, legend, id=f"{panel.title}-{number}")
    for panels in grafana.ROWS.values()
    for panel in panels
    for number, (expression, legend) in enumerate(panel.lines)
]


# What Prometheus and its service discovery say of who was scraped.
OF_TARGETS = {"instance", "replica"}


def metric_of(name: str) -> Metric[Any]:
    found: dict[str, Metric[Any]] = {metric.full_name: metric for metric in (*CATALOGUE, *REPLICA_CATALOGUE)}
    for suffix in ("_bucket", "_sum", "_count"):
        if name.endswith(suffix) and found.get(name.removesuffix(suffix)) is not None:
            metric = found[name.removesuffix(suffix)]
            assert metric.kind is Kind.HISTOGRAM
            return metric
    return found[name]


@pytest.mark.parametrize(("expression", "legend"), EXPRESSIONS)
def test_a_panel_names_metrics_of_the_catalogue_with_their_labels(expression: str, legend: str) -> None:
    metrics = [metric_of(name) for name in NAME.findall(expression)]
    assert metrics
    labels = {label for metric in metrics for label in metric.labels} | {"le"}
    if all(metric in REPLICA_CATALOGUE for metric in metrics):
        labels |= OF_TARGETS
    for name, selector in SELECTED.findall(expression):
        assert {re.split("[=!]", part)[0] for part in selector.split(",")} <= set(metric_of(name).labels)
    for grouped in BY.findall(expression):
        assert set(grouped.split(", ")) <= labels
    assert set(re.findall(r"\{\{([a-z]+)\}\}", legend)) <= labels


@pytest.mark.parametrize(("expression", "legend"), EXPRESSIONS)
def test_rates_are_of_counters_and_histograms_and_their_brackets_close(expression: str, legend: str) -> None:
    for name in re.findall(r"(?:rate|increase)\((treeroll_[a-z0-9_]+)", expression):
        assert metric_of(name).kind is not Kind.GAUGE, name
    for opens, closes in ("()", "{}", "[]"):
        assert expression.count(opens) == expression.count(closes)


def test_the_file_is_as_it_is_made_and_has_a_panel_for_each_that_is_asked_for() -> None:
    text = (DEPLOY / "grafana" / "treeroll.json").read_text()
    assert text == grafana.text(), "python -m treeroll.metrics.grafana > deploy/grafana/treeroll.json"
    dashboard: dict[str, Any] = json.loads(text)
    charts = [panel for panel in dashboard["panels"] if panel["type"] == "timeseries"]
    assert len(charts) == sum(map(len, grafana.ROWS.values()))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in charts]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= grafana.GRID for panel in charts)


def test_variables_ask_for_labels_that_there_are() -> None:
    for variable in grafana.dashboard()["templating"]["list"][1:]:
        [(metric, label)] = re.findall(r"label_values\((\w+), (\w+)\)", variable["query"])
        assert label in metric_of(metric).labels


def test_what_is_provisioned_is_this_dashboard_and_what_is_scraped_is_what_answers() -> None:
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/treeroll.yaml").read_text())["providers"][0]
    assert provider["type"] == "file"
    service, replicas = yaml.safe_load((DEPLOY / "prometheus/scrape.yaml").read_text())["scrape_configs"]
    assert service["metrics_path"] == "/api/1/metrics"
    [found] = replicas["http_sd_configs"]
    assert found["url"].endswith("/api/1/targets")
    assert found["authorization"] != replicas["authorization"], "a replica is shown no token of the service"
