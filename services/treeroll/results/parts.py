"""PartWriter: rows on disk as trees finish."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from treeroll.client.columns import nodes_table, samples_table, trees_table
from treeroll.client.records import TreeRecord
from treeroll.results.directory import ResultDir
from treeroll.results.session import Session, dump
from treeroll.whole_file import settle

COMPRESSION = "zstd"


class PartWriter:
    """Writes one part after the other, numbered on from `first`."""

    def __init__(self, directory: ResultDir, first: int) -> None:
        self._directory = directory
        self._next = first

    def write(self, trees: Sequence[TreeRecord], session: Session, events: pa.Table | None = None) -> None:
        """Write trees, those without a sample included, and decisions as one part. When this returns they are on the
        disk."""
        self._directory.parts.mkdir(exist_ok=True)
        kinds = {
            **({} if events is None else {"events": events}),
            "trees": trees_table([tree.row() for tree in trees]),
            "nodes": nodes_table([node for tree in trees if tree.samples for node in tree.nodes]),
            # Last: this part says that all are there.
            "samples": samples_table([sample for tree in trees for sample in tree.samples]),
        }
        for kind, rows in kinds.items():
            write_table(with_metadata(rows, dump({session.run_id: session})), self._directory.part(kind, self._next))
        self._next += 1


def with_metadata(rows: pa.Table, more: dict[bytes, bytes]) -> pa.Table:
    """The table with more entries in its schema's metadata."""
    return rows.replace_schema_metadata({**(rows.schema.metadata or {}), **more})


def write_table(rows: pa.Table, path: Path) -> None:
    """Write a file of one row group that appears whole or not at all."""
    unfinished = path.with_name(f"{path.name}.tmp")
    options: dict[str, Any] = {"compression": COMPRESSION, "row_group_size": max(rows.num_rows, 1)}
    pq.write_table(rows, unfinished, **options)
    settle(unfinished, path)
