"""The page on metrics, made from the catalogue.

python -m treeroll.metrics.page > docs/metrics.md
"""

from treeroll.metrics.catalogue import CATALOGUE
from treeroll.metrics.metric import Metric

_HEAD = """# Metrics

Made by `python -m treeroll.metrics.page`; the catalogue is `treeroll/metrics/catalogue.py`.

The coordinator serves no HTTP. It writes a snapshot of itself to its store once a second, and `treeroll.metrics.render`
makes these metrics from the last one, wherever that is read: `treeroll dashboard` answers with them at
`/api/1/metrics` (`deploy/prometheus/scrape.yaml`). Counters of the whole service begin anew with each epoch
of its coordinator, as Prometheus expects of a restart; those of a run are of its whole life, and a run that is not
among the shown ones any more has none. No label is a tree, a task, a prompt or a user.

"when" says of a metric that is not always there on what that depends.

| metric | kind | labels | when | |
|---|---|---|---|---|
"""


def page() -> str:
    """The page as Markdown."""
    return _HEAD + "\n".join(map(_row, CATALOGUE)) + "\n"


def _row(metric: Metric) -> str:
    labels = "; ".join(f"`{name}`: {values}" for name, values in metric.labels.items())
    return f"| `{metric.full_name}` | {metric.kind} | {labels} | {metric.when} | {metric.help} |"


if __name__ == "__main__":
    print(page(), end="")
