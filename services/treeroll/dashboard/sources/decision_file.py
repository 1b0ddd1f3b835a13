"""DecisionFile: the decisions of a rollout's results, read backwards by row groups, and only when somebody looks."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from treeroll.dashboard.decisions import DecisionQuery, Json, Pause, Row, Rows, oldest_first, page
from treeroll.errors import InvalidInput
from treeroll.records.decision import Decision
from treeroll.records.events import Event
from treeroll.results.explain import why_of
from treeroll.results.reader import ResultReader

# Rows that are looked at one by one for one answer.
LOOKED_AT = 50_000
# Rows that become values at a time.
SLICE = 2000
_SAME = {"run": "run_id", "tree": "tree_id", "replica": "replica_id"}


class DecisionFile:
    """Of one directory. A place is the number of a row, in the order of the files."""

    def __init__(self, reader: ResultReader) -> None:
        self._reader = reader

    @property
    def there(self) -> bool:
        """Whether the rollout could write any."""
        return bool(self._reader.files("events"))

    def page(self, query: DecisionQuery) -> Json:
        """A page of those that match, the time of the oldest one, and why some are missing, if they are."""
        missing = {session.decisions_missing for session in self._reader.sessions().values()}
        oldest = next((table["at"][0].as_py() for table in self._reader.tables("events", ["at"]) if len(table)), None)
        return {**page(self._rows(query), query), "oldest_at": oldest, "missing": sorted(missing - {""})}

    def of_tree(self, tree_id: str) -> list[Decision]:
        """All of a tree, in order."""
        return oldest_first(self._rows, DecisionQuery(tree=tree_id))

    def _rows(self, query: DecisionQuery) -> Rows:
        left = LOOKED_AT
        for first, table in self._groups(_parsed(query.before)):
            wanted = np.flatnonzero(_mask(table, query))
            for end in range(len(wanted), 0, -SLICE):
                numbers = wanted[max(0, end - SLICE) : end]
                values = table.take(pa.array(numbers)).to_pylist()
                for number, row in zip(reversed(numbers.tolist()), reversed(values), strict=True):
                    yield Row(str(first + number), row["at"], row["epoch"], _event(row))
                left -= len(numbers)
                if left <= 0:
                    yield Pause(str(first + int(numbers[0])), values[0]["at"])
                    return

    def _groups(self, before: int | None) -> Iterator[tuple[int, pa.Table]]:
        """Row groups up to a row, the last first, each with the number of its first row."""
        groups = []
        first = 0
        for path in self._reader.files("events"):
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    groups.append((first, path, group))
                    first += file.metadata.row_group(group).num_rows
        for start, path, group in reversed(groups):
            if before is None or start < before:
                with pq.ParquetFile(path) as file:
                    table = file.read_row_group(group)
                yield start, table if before is None else table.slice(0, before - start)


def _mask(table: pa.Table, query: DecisionQuery) -> Any:
    """Which rows may match: all that columns alone can tell."""
    kept = np.ones(len(table), dtype=bool)
    for name, column in _SAME.items():
        if value := getattr(query, name):
            kept &= pc.fill_null(pc.equal(table[column], value), False).to_numpy()
    if query.kinds:
        names = pa.array(sorted(query.kinds), pa.string())
        kinds = pc.or_(pc.is_in(table["kind"], names), pc.is_in(table["detail"], names))
        kept &= pc.fill_null(kinds, False).to_numpy()
    at = table["at"].to_numpy()
    kept &= (query.since is None) | (at >= (query.since or 0.0))
    kept &= (query.until is None) | (at <= (query.until or 0.0))
    return kept


def _event(row: Mapping[str, Any]) -> Event:
    why = why_of(row["why"])
    return Event(
        row["kind"],
        row["run_id"],
        row["tree_id"],
        row["path"] or "",
        row["replica_id"] or "",
        row["count"] or 0,
        row["reason"] or "",
        row["detail"] or "",
        row["waited_s"] or 0.0,
        None if why is None else (why.rule, why.terms),
    )


def _parsed(before: str) -> int | None:
    if not before:
        return None
    if not (before.isdecimal() and len(before) < 20):
        raise InvalidInput("the cursor is not one of this list; begin without one")
    return int(before)
