"""The text of a scrape."""

from collections.abc import Sequence

from treeroll.metrics.catalogue import CATALOGUE, REPLICA_CATALOGUE
from treeroll.metrics.metric import Seen, StoreFigures
from treeroll.metrics.replica import ReplicaSeen
from treeroll.pb.v1 import watch_pb2 as watch


def render(
    snapshot: watch.Snapshot | None,
    groups: Sequence[watch.GroupFigures] | None = None,
    store: StoreFigures | None = None,
) -> bytes:
    """All metrics, as Prometheus scrapes them (`metric.CONTENT_TYPE`).

    `groups`: newer figures of consumer groups than the snapshot has; None: there are none. `store`: what the caller
    has seen of the store itself; None: nothing.
    """
    told = snapshot if snapshot is not None else watch.Snapshot()
    seen = Seen(told, tuple(told.groups if groups is None else groups), store)
    lines = [line for metric in CATALOGUE for line in metric.lines(seen)]
    return _text(lines)


def render_replica(seen: ReplicaSeen) -> bytes:
    """A replica's own metrics, likewise."""
    return _text([line for metric in REPLICA_CATALOGUE for line in metric.lines(seen)])


def _text(lines: Sequence[str]) -> bytes:
    return "\n".join([*lines, ""]).encode()
