"""Merging parts into one file per kind, in constant memory, and counting on the way."""

from collections.abc import Callable, Iterator, Set
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from treeroll.client.columns import DECISION_SCHEMA, NODE_SCHEMA, SAMPLE_SCHEMA, TREE_SCHEMA
from treeroll.results.directory import EVERY_KIND, ResultDir
from treeroll.results.figures import add_nodes, add_samples
from treeroll.results.parts import COMPRESSION, with_metadata
from treeroll.results.reader import NEXT_PART_KEY, ResultReader
from treeroll.results.session import Sessions, dump
from treeroll.results.summary import Tally
from treeroll.whole_file import settle

# Rows gather until they take this much memory; then they become a row group. A row group holds whole trees.
ROW_GROUP_BYTES = 32 << 20

# How a tree may have ended, the best last.
RANKS = ("failed", "filtered", "partial", "complete")

_SCHEMAS = {"events": DECISION_SCHEMA, "samples": SAMPLE_SCHEMA, "nodes": NODE_SCHEMA, "trees": TREE_SCHEMA}
_COUNTERS: dict[str, Callable[[Tally, pa.Table], None]] = {"samples": add_samples, "nodes": add_nodes}


def merge(directory: ResultDir, sessions: Sessions) -> Tally:
    """Merge all rows into one file per kind and return what they come to. Parts stay.

    Each file contains what it contained before and the parts it does not know yet, so this may be cut short anywhere
    and done again.
    """
    reader = ResultReader(directory)
    dropped = superseded(reader)
    tally = Tally()
    # Samples before decisions, and after the others: they say which parts count as merged when rows are read.
    for kind in reversed(EVERY_KIND):
        if kind == "events" and not reader.files(kind):
            continue
        _merge_kind(directory, reader, kind, sessions, dropped, tally)
    return tally


def superseded(reader: ResultReader) -> set[str]:
    """Trees whose task was grown again: of each task the last of its best trees counts."""
    best: dict[str, tuple[int, str]] = {}
    dropped: set[str] = set()
    for row in reader.rows("trees", ("task_id", "epoch", "tree_id", "status")):
        task, tree = f"{row['epoch']}:{row['task_id']}", (RANKS.index(row["status"]), row["tree_id"])
        known = best.get(task)
        if known is None or known[1] == tree[1]:
            best[task] = tree
        elif tree[0] >= known[0]:
            dropped.add(known[1])
            best[task] = tree
        else:
            dropped.add(tree[1])
    return dropped


def _merge_kind(
    directory: ResultDir, reader: ResultReader, kind: str, sessions: Sessions, dropped: Set[str], tally: Tally
) -> None:
    unmerged = reader.parts(kind)
    next_part = unmerged[-1] + 1 if unmerged else reader.next_part(kind)
    metadata = {NEXT_PART_KEY: str(next_part).encode(), **dump(sessions)}
    schema = with_metadata(_SCHEMAS[kind].empty_table(), metadata).schema
    unfinished = directory.path / f"{kind}.parquet.tmp"
    options: dict[str, Any] = {"compression": COMPRESSION}
    with pq.ParquetWriter(unfinished, schema, **options) as writer:
        for rows in _gathered(_kept(reader, kind, dropped)):
            if kind in _COUNTERS:
                _COUNTERS[kind](tally, rows)
            writer.write_table(with_metadata(rows, metadata), row_group_size=rows.num_rows)
    settle(unfinished, directory.merged(kind))


def _kept(reader: ResultReader, kind: str, dropped: Set[str]) -> Iterator[pa.Table]:
    gone = pa.array(sorted(dropped), pa.string())
    for rows in reader.tables(kind):
        kept = rows.filter(pc.invert(pc.is_in(rows["tree_id"], gone))) if dropped else rows
        if kept.num_rows:
            yield kept.replace_schema_metadata(None)


def _gathered(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Small tables joined to larger ones."""
    held: list[pa.Table] = []
    size = 0
    for rows in tables:
        held.append(rows)
        size += rows.nbytes
        if size >= ROW_GROUP_BYTES:
            yield pa.concat_tables(held)
            held, size = [], 0
    if held:
        yield pa.concat_tables(held)
