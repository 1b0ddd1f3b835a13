"""What the tabs of `treeroll top` list: rows of a source, each with what it is sorted by and what is shown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from treeroll.cli.console import clip, number, plain
from treeroll.dashboard.decisions import DecisionQuery
from treeroll.dashboard.happenings import HappeningQuery
from treeroll.dashboard.query import TreeQuery
from treeroll.dashboard.sources.live import LiveSource
from treeroll.watch.rules import duration

Json = dict[str, Any]

NAME = 16
# Of trees, events and decisions so many are asked for.
LISTED = 200


class Cell(NamedTuple):
    """What is sorted by, and what is shown."""

    value: float | str
    shown: str


@dataclass(frozen=True, slots=True)
class Line:
    """A row. `key`: the same for the same thing; `about`: all that is known of it."""

    key: str
    cells: tuple[Cell, ...]
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tab:
    """A list: its columns, those of figures with ">" before their names, and how it is read. StoreError."""

    name: str
    columns: tuple[str, ...]
    read: Callable[[LiveSource], Iterator[Line]]
    more: Callable[[LiveSource, Mapping[str, Any]], list[str]]
    """Lines about one of them."""


def _text(value: str, width: int = NAME) -> Cell:
    return Cell(plain(value), clip(value, width))


def _figure(value: float | None, shown: str | None = None) -> Cell:
    return Cell(-1.0 if value is None else value, "-" if value is None else (shown or number(value, 0)))


def _time(at: float | None) -> Cell:
    return Cell(at or 0.0, "-" if not at else f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}")


def _snapshot(source: LiveSource) -> Json:
    return source.live()[1]["snapshot"] or {}


def _replicas(source: LiveSource) -> Iterator[Line]:
    table = _snapshot(source).get("replicas") or {"names": [], "rows": []}
    for row in table["rows"]:
        one = dict(zip(table["names"], row, strict=True))
        cells = (
            _text(one["replica_id"]),
            _text(one["state"], 11),
            _figure(one["branches"], f"{one['branches']}/{one['slots']}"),
            _figure(one["running"] + one["waiting"], f"{one['running']}+{one['waiting']}"),
            _figure(one["kv_usage"], f"{one['kv_usage']:.0%}"),
            _figure(one["tokens_per_s"]),
            _figure(one["of_median"], f"{one['of_median'] or 0:.2f}"),
            _figure(one["silent_s"], f"{one['silent_s']:.1f}"),
            _figure(one["losses"]),
        )
        yield Line(one["replica_id"], cells, one)


def _runs(source: LiveSource) -> Iterator[Line]:
    for run in _snapshot(source).get("runs", []):
        waste = f"{run['wasted'] / run['spent']:.0%}" if run["spent"] else "-"
        cells = (
            _text(run["run_id"]),
            _text(run["state"], 9),
            _figure(run["trees"], f"{run['trees']}/{run['submitted']}"),
            _figure(run["growing"]),
            _figure(run["waiting"]),
            _figure(run["leaves"]),
            _figure(run["spent"]),
            _figure(run["wasted"], waste),
        )
        yield Line(run["run_id"], cells, run)


def _trees(source: LiveSource) -> Iterator[Line]:
    for tree in source.trees(TreeQuery(limit=LISTED))["items"]:
        cells = (
            Cell(tree["tree_id"], plain(tree["tree_id"][:8])),
            _text(tree["task_id"], 14),
            _text(tree["status"], 9),
            _text(tree["stop_reason"] or "-", 8),
            _figure(tree["nodes"]),
            _figure(tree["n_leaves"]),
            _figure(tree["spent"]),
            _figure(tree["wasted_tokens"]),
            _figure(tree["mean_reward"], f"{tree['mean_reward'] or 0:.2f}"),
        )
        yield Line(tree["tree_id"], cells, tree)


def _groups(source: LiveSource) -> Iterator[Line]:
    for group in source.feed()["groups"]:
        cells = (
            _text(group["run_id"]),
            _text(group["group"]),
            _figure(group["acknowledged"]),
            _figure(group["leased"]),
            _figure(group["waiting"]),
            _figure(group["stuck_s"], duration(group["stuck_s"]) if group["waiting"] else "-"),
        )
        yield Line(f"{group['run_id']} {group['group']}", cells, group)


def _events(source: LiveSource) -> Iterator[Line]:
    """What happened and what was decided, the newest first."""
    happened = source.events(HappeningQuery(limit=LISTED))["items"]
    decided = source.decisions(DecisionQuery(limit=LISTED))["items"]
    found = [(f"happened {one['id']}", one) for one in happened] + [(f"decided {one['id']}", one) for one in decided]
    for key, one in sorted(found, key=lambda pair: -pair[1]["at"]):
        what = plain(one.get("tree", "")[:8]) or clip(one["replica"] or one["run"], 8)
        yield Line(key, (_time(one["at"]), _text(one["kind"], 16), Cell(what, what), _text(one["sentence"], 200)), one)


def facts(about: Mapping[str, Any]) -> list[str]:
    """All that is known of something, but for what is empty."""
    shown = [(name.replace("_", " "), value) for name, value in about.items() if value not in (None, "", [], {})]
    return [f"{name:<22} {f'{value:.4g}' if isinstance(value, float) else plain(str(value))}" for name, value in shown]


def _of_replica(source: LiveSource, one: Mapping[str, Any]) -> list[str]:
    return _sentences(source.events(HappeningQuery(replica=one["replica_id"]))["items"])


def _of_run(source: LiveSource, one: Mapping[str, Any]) -> list[str]:
    query = DecisionQuery.parse({"run": one["run_id"], "kind": "budget", "limit": "50"})
    return _sentences(source.decisions(query)["items"])


def _of_tree(source: LiveSource, one: Mapping[str, Any]) -> list[str]:
    return _sentences(source.decisions(DecisionQuery(tree=one["tree_id"], limit=LISTED))["items"])


def _of_group(source: LiveSource, one: Mapping[str, Any]) -> list[str]:
    found = source.group(one["run_id"], one["group"])["items"]
    return [f"tree {plain(tree['tree_id'][:8])} waits {plain(tree['waits_for'])}" for tree in found]


def _sentences(items: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{_time(one['at']).shown}  {plain(one['sentence'])}" for one in items]


TABS = (
    Tab(
        "replicas",
        ("replica", "state", ">branches", ">engine", ">KV", ">tok/s", ">x med", ">heard s", ">lost"),
        _replicas,
        _of_replica,
    ),
    Tab("runs", ("run", "state", ">done", ">growing", ">waiting", ">leaves", ">tokens", ">waste"), _runs, _of_run),
    Tab(
        "trees",
        ("tree", "task", "status", "cut by", ">nodes", ">leaves", ">tokens", ">waste", ">reward"),
        _trees,
        _of_tree,
    ),
    Tab("feed", ("run", "group", ">acknowledged", ">leased", ">waiting", ">none for"), _groups, _of_group),
    Tab("events", ("when", "kind", "of", "what"), _events, lambda source, one: []),
)
