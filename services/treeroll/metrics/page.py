"""The page on metrics, made from the catalogue.

python -m treeroll.metrics.page > docs/metrics.md
"""

from collections.abc import Sequence
from typing import Any

from treeroll.metrics.catalogue import CATALOGUE, REPLICA_CATALOGUE
from treeroll.metrics.metric import Metric

_HEAD = """# Metrics

Made by `python -m treeroll.metrics.page`; the catalogue is `treeroll/metrics/catalogue.py`.

The coordinator serves no HTTP. It writes a snapshot of itself to its store once a second, and `treeroll.metrics.render`
makes these metrics from the last one, wherever that is read: `treeroll dashboard` answers with them at
`/api/1/metrics` (`deploy/prometheus/scrape.yaml`). Counters of the whole service begin anew with each epoch
of its coordinator, as Prometheus expects of a restart; those of a run are of its whole life, and a run that is not
among the shown ones any more has none. No label is a tree, a task, a prompt or a user.

"when" says of a metric that is not always there on what that depends.

"""

_TABLE = """| metric | kind | labels | when | |
|---|---|---|---|---|
"""

_REPLICA = """
## Of each replica, from itself

With `generator.metrics.port` each replica answers Prometheus on a port of its own, at `/metrics`, also while its
coordinator is away: with these, and, where its engine is vLLM, with vLLM's own (`vllm:...`) and those of its process.
`/api/1/targets` of the dashboard lists the addresses of all, as Prometheus' HTTP service discovery reads them.

"""


def page() -> str:
    """The page as Markdown."""
    return _HEAD + _table(CATALOGUE) + _REPLICA + _table(REPLICA_CATALOGUE)


def _table(catalogue: Sequence[Metric[Any]]) -> str:
    return _TABLE + "\n".join(map(_row, catalogue)) + "\n"


def _row(metric: Metric[Any]) -> str:
    labels = "; ".join(f"`{name}`: {values}" for name, values in metric.labels.items())
    return f"| `{metric.full_name}` | {metric.kind} | {labels} | {metric.when} | {metric.help} |"


if __name__ == "__main__":
    print(page(), end="")
