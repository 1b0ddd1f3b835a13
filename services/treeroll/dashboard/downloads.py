"""Downloads: all rows of a list as one file, CSV or JSON, under the filters that the list takes page by page."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, Final

from treeroll.dashboard.decisions import MOST, DecisionQuery
from treeroll.dashboard.happenings import KEPT, HappeningQuery
from treeroll.dashboard.query import TaskQuery, TreeQuery
from treeroll.dashboard.sources.base import Json, Source
from treeroll.errors import InvalidInput

TYPES: Final = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
# Trees of one file. They are read at one moment: pages of a list that changes would have some twice, or not at all.
MOST_TREES: Final = 100_000
# What spreadsheets take for the beginning of a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def download(source: Source, name: str, form: str, asked: Mapping[str, str]) -> Iterator[bytes]:
    """The file in parts. InvalidInput, and what the source raises, before the first of them."""
    if name not in LISTS or form not in TYPES:
        known = ", ".join(LISTS)
        raise InvalidInput(f"there is no list '{name}.{form}'; there is {known}, each as .csv and .json")
    as_of, epoch = source.as_of()
    rows = LISTS[name](source, asked)
    first = next(rows, None)  # what cannot be answered is refused before the file begins
    rows = rows if first is None else chain([first], rows)
    return _csv(rows) if form == "csv" else _json({"as_of": as_of, "epoch": epoch}, rows)


def _csv(rows: Iterable[Json]) -> Iterator[bytes]:
    """A head and a line per row; without rows nothing, since nobody has said which columns there would be."""
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(text, list(row), lineterminator="\r\n")
            writer.writeheader()
        writer.writerow({column: _cell(value) for column, value in row.items()})
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return "" if isinstance(value, float) and not math.isfinite(value) else value


def _json(head: Json, rows: Iterable[Json]) -> Iterator[bytes]:
    """The form of the list's own answer, with all items."""
    yield f'{json.dumps(head)[:-1]}, "items": ['.encode()
    for place, row in enumerate(rows):
        yield f"{',' if place else ''}\n{json.dumps(finite(row), ensure_ascii=False, allow_nan=False)}".encode()
    yield b"\n]}\n"


def finite(value: Any) -> Any:
    """The value with None for numbers that are not finite, which JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return value


def _trees(source: Source, asked: Mapping[str, str]) -> Iterator[Json]:
    query = replace(TreeQuery.parse(asked), cursor="", limit=1)
    found = source.trees(query)
    while found.get("behind"):  # a service's list is read in parts; a file has all of it
        found = source.trees(query)
    if found["matching"] > MOST_TREES:
        raise InvalidInput(
            f"{found['matching']:,} trees match, and a file has at most {MOST_TREES:,}: narrow them by run or status"
        )
    yield from source.trees(replace(query, limit=MOST_TREES))["items"]


def _runs(source: Source, asked: Mapping[str, str]) -> Iterator[Json]:
    wanted = _only(asked, "q")["q"]
    yield from (run for run in reversed(source.runs()) if wanted in run["run_id"])


def _tasks(source: Source, asked: Mapping[str, str]) -> Iterator[Json]:
    given = {name: text for name, text in asked.items() if name != "run"}
    query = replace(TaskQuery.parse(asked.get("run", ""), given), skip=0, limit=1)
    while source.tasks(query)["behind"]:
        pass  # each answer reads more
    found = source.tasks(replace(query, limit=MOST_TREES))
    if found["total"] > MOST_TREES:
        raise InvalidInput(f"the run has {found['total']:,} tasks, and a file has at most {MOST_TREES:,}")
    yield from found["items"]


def _events(source: Source, asked: Mapping[str, str]) -> Iterator[Json]:
    yield from source.events(replace(HappeningQuery.parse(asked), before=None, limit=KEPT))["items"]


def _decisions(source: Source, asked: Mapping[str, str]) -> Iterator[Json]:
    """To the oldest that is kept. What is missing is a row that says so, as it is where the log itself has a gap."""
    query = replace(DecisionQuery.parse(asked), before="", limit=MOST)
    while True:
        found = source.decisions(query)
        if not query.before:
            yield from (_missing(why) for why in found["missing"])
        yield from found["items"]
        if not found["cursor"]:
            return
        query = replace(query, before=found["cursor"])


def _missing(why: str) -> Json:
    names = ("id", "at", "epoch", "kind", "run", "tree", "path", "replica", "reason", "sentence", "why", "page")
    return {**dict.fromkeys(names), "kind": "gap", "sentence": why}


def _replicas(source: Source, asked: Mapping[str, str]) -> Iterator[Json]:
    _only(asked)
    snapshot = source.live()[1]["snapshot"]
    table = {"names": [], "rows": []} if snapshot is None else snapshot["replicas"]
    yield from (dict(zip(table["names"], row, strict=True)) for row in table["rows"])


def _groups(source: Source, asked: Mapping[str, str]) -> Iterator[Json]:
    _only(asked)
    yield from source.feed()["groups"]


def _only(asked: Mapping[str, str], *names: str) -> dict[str, str]:
    if odd := sorted(asked.keys() - set(names)):
        raise InvalidInput(f"this list has no filter '{odd[0]}'{'; there is ' + ', '.join(names) if names else ''}")
    return {name: asked.get(name, "") for name in names}


LISTS: Final[Mapping[str, Callable[[Source, Mapping[str, str]], Iterator[Json]]]] = {
    "runs": _runs,
    "trees": _trees,
    "tasks": _tasks,
    "replicas": _replicas,
    "groups": _groups,
    "events": _events,
    "decisions": _decisions,
}
