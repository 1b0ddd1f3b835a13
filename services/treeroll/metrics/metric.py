"""What a metric is, and its text as Prometheus reads it.

https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from typing import Generic, TypeVar

from treeroll.pb.v1 import watch_pb2 as watch

PREFIX = "treeroll_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Kind(StrEnum):
    """How a metric behaves."""

    COUNTER = "counter"  # only grows, or begins anew
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """What who scrapes has seen of the store itself."""

    up: bool
    used_bytes: int = 0
    max_bytes: int = 0
    """0: it has no limit."""
    evicted_keys: int = 0
    delayed_fsyncs: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a scrape is made from."""

    snapshot: watch.Snapshot
    """An empty one where nobody ever said anything."""
    groups: tuple[watch.GroupFigures, ...]
    store: StoreFigures | None = None
    """None: nobody has looked."""


S = TypeVar("S")
Value = float | watch.Histogram
Sample = tuple[tuple[str, ...], Value]
"""Values of its labels, and its own."""


@dataclass(frozen=True, slots=True)
class Metric(Generic[S]):
    """One entry of a catalogue, read from what was seen: `Seen` of a service.

    `labels`: name -> what its values are, and how many there may be.
    """

    name: str
    kind: Kind
    help: str
    read: Callable[[S], Iterable[Sample]]
    labels: Mapping[str, str] = field(default_factory=dict)
    when: str = ""
    """When it is there; "" always."""

    @property
    def full_name(self) -> str:
        """As it is scraped."""
        return PREFIX + self.name

    def lines(self, seen: S) -> Iterator[str]:
        """Its part of a scrape; nothing without a sample."""
        samples = list(self.read(seen))
        if not samples:
            return
        yield f"# HELP {self.full_name} {_help(self.help)}"
        yield f"# TYPE {self.full_name} {self.kind}"
        for values, value in samples:
            labels = dict(zip(self.labels, values, strict=True))
            if isinstance(value, watch.Histogram):
                yield from _histogram(self.full_name, labels, value)
            else:
                yield f"{self.full_name}{_labels(labels)} {_number(value)}"


def _histogram(name: str, labels: Mapping[str, str], value: watch.Histogram) -> Iterator[str]:
    below = list(accumulate(value.counts)) or [0]
    for bound, count in zip([*value.bounds, float("inf")], below, strict=False):
        yield f"{name}_bucket{_labels({**labels, 'le': _number(bound)})} {count}"
    yield f"{name}_sum{_labels(labels)} {_number(value.sum)}"
    yield f"{name}_count{_labels(labels)} {below[-1]}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1 << 53 else repr(float(value))
