"""One tree in a file: JSON lines of its row, nodes, samples and decisions, as Parquet has them, for whoever else is to
look at it. What reads results reads it, too.

The first line says what it is; every other one is {"kind": ..., "row": {...}}, the nodes parents first.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from treeroll.client.columns import DECISION_SCHEMA, NODE_SCHEMA, SAMPLE_SCHEMA, TREE_SCHEMA
from treeroll.errors import InvalidInput
from treeroll.records.fields import SCHEMA_VERSION
from treeroll.results.directory import ResultDir
from treeroll.results.parts import write_table

SCHEMAS: Mapping[str, pa.Schema] = {
    "trees": TREE_SCHEMA,
    "nodes": NODE_SCHEMA,
    "samples": SAMPLE_SCHEMA,
    "events": DECISION_SCHEMA,
}
# Rows that are written at a time.
ROWS = 500


def lines(tree_id: str, tables: Mapping[str, pa.Table | None]) -> Iterator[bytes]:
    """The file, piece by piece. `tables`: of each kind the tree's rows, None for none."""
    head = {"treeroll": "tree", "schema_version": SCHEMA_VERSION, "tree_id": tree_id}
    yield f"{json.dumps(head)}\n".encode()
    for kind, table in tables.items():
        for batch in table.to_batches(ROWS) if table is not None else ():
            yield "".join(f"{json.dumps({'kind': kind, 'row': row})}\n" for row in batch.to_pylist()).encode()


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """A directory of results: the path itself, or a temporary one of the tree in that file. InvalidInput for a file
    that is none."""
    if not path.is_file():
        yield path
        return
    with TemporaryDirectory(prefix="treeroll-") as folder:
        unpack(path, ResultDir(Path(folder)))
        yield Path(folder)


def unpack(path: Path, into: ResultDir) -> None:
    """Write the tree of a file as results. InvalidInput naming the first line that is wrong."""
    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in SCHEMAS}
    try:
        with path.open(encoding="utf-8") as file:
            _check_head(path, next(file, ""))
            for number, line in enumerate(file, 2):
                kind, row = _parsed(path, number, line)
                rows[kind].append(row)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from None
    for kind, schema in SCHEMAS.items():
        try:
            table = pa.Table.from_pylist(rows[kind], schema=schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError, OverflowError) as error:
            raise InvalidInput(f"{path}: its {kind} are not rows of this version: {error}") from None
        if kind != "events" or rows[kind]:
            write_table(table, into.merged(kind))


def _check_head(path: Path, line: str) -> None:
    try:
        head = json.loads(line)
        found = head["treeroll"] == "tree", head["schema_version"]
    except (ValueError, KeyError, TypeError):
        found = False, None
    if not found[0]:
        raise InvalidInput(f"{path} is no tree that was exported: its first line does not say so")
    if found[1] != SCHEMA_VERSION:
        raise InvalidInput(
            f"{path} has records of schema version {found[1]}, and this treeroll reads {SCHEMA_VERSION}: export it anew"
        )


def _parsed(path: Path, number: int, line: str) -> tuple[str, dict[str, Any]]:
    try:
        found = json.loads(line)
        kind, row = found["kind"], found["row"]
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(f"{path}, line {number}: not a row of an exported tree; was the file cut short?") from None
    if kind not in SCHEMAS or not isinstance(row, dict):
        raise InvalidInput(f"{path}, line {number}: there are no rows of kind {kind!r} in a tree")
    return kind, row
