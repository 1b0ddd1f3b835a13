"""ResultReader: the rows of a directory, finished or not, each exactly once and in order of arrival."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from treeroll.client.columns import NODE_SCHEMA, SAMPLE_SCHEMA, TREE_SCHEMA
from treeroll.errors import InvalidInput
from treeroll.records.fields import SCHEMA_VERSION
from treeroll.results.directory import KINDS, ResultDir
from treeroll.results.session import Session, Sessions, load

# Metadata of a merged file: parts with a smaller number are in it.
NEXT_PART_KEY = b"treeroll.next_part"

VERSION_KEY = b"treeroll.schema_version"
_SCHEMAS = {"samples": SAMPLE_SCHEMA, "nodes": NODE_SCHEMA, "trees": TREE_SCHEMA}


class ResultReader:
    """Reads one row group at a time."""

    def __init__(self, directory: ResultDir) -> None:
        self._directory = directory

    @classmethod
    def existing(cls, path: Path) -> "ResultReader":
        """A reader of a directory that holds rows; InvalidInput if it does not."""
        reader = cls(ResultDir(path))
        if not path.is_dir():
            raise InvalidInput(f"{path} is not a directory")
        if not all(reader.files(kind) for kind in KINDS):
            raise InvalidInput(
                f"{path} holds no results: it has neither samples, nodes and trees.parquet nor parts/ with all three"
            )
        return reader

    def next_part(self, kind: str) -> int:
        """Number of the first part that the merged file does not contain."""
        path = self._directory.merged(kind)
        return int(self._metadata(path).get(NEXT_PART_KEY, b"0")) if path.exists() else 0

    def parts(self, kind: str) -> list[int]:
        """Complete parts that are not in the merged file. Those without a decision have no file of them."""
        first, there = self.next_part(kind), set(self._directory.part_indices(kind))
        return [index for index in self._directory.part_indices() if index >= first and index in there]

    def files(self, kind: str) -> list[Path]:
        """Files whose rows together are all rows, in order."""
        merged = self._directory.merged(kind)
        parts = [self._directory.part(kind, index) for index in self.parts(kind)]
        return [merged, *parts] if merged.exists() else parts

    def check_version(self) -> None:
        """InvalidInput for files that another version wrote, from which this one cannot read all that it needs."""
        for kind, expected in _SCHEMAS.items():
            for path in self.files(kind):
                with self._opened(path) as file:
                    schema = file.schema_arrow
                written = (schema.metadata or {}).get(VERSION_KEY, b"").decode(errors="replace")
                missing = [name for name in expected.names if name not in schema.names]
                if missing or written not in ("", str(SCHEMA_VERSION)):
                    lacks = f", and lacks {', '.join(missing[:5])}" if missing else ""
                    raise InvalidInput(
                        f"{path} was written by another version of treeroll: it has records of schema version "
                        f"{written or 'unknown'}{lacks}, and this treeroll reads {SCHEMA_VERSION}; open it with the "
                        "treeroll that wrote it, which run.json names"
                    )

    def sessions(self) -> Sessions:
        """Every session that contributed, as of its last rows."""
        sessions: Sessions = {}
        for path in self.files("samples"):
            for run_id, session in load(self._metadata(path)).items():
                sessions[run_id] = _later(sessions.get(run_id), session)
        return sessions

    def tables(self, kind: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows, one row group at a time."""
        for path in self.files(kind):
            with self._opened(path) as file:
                for group in range(file.num_row_groups):
                    yield file.read_row_group(group, columns=list(columns) if columns else None)

    def rows(self, kind: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """All rows as mappings."""
        for table in self.tables(kind, columns):
            yield from table.to_pylist()

    def rows_of_tree(self, kind: str, tree_id: str) -> list[dict[str, Any]]:
        """Rows of one tree."""
        found: list[dict[str, Any]] = []
        for table in self.tables(kind):
            found += table.filter(pc.equal(table["tree_id"], tree_id)).to_pylist()
        return found

    def _metadata(self, path: Path) -> dict[bytes, bytes]:
        with self._opened(path) as file:
            return dict(file.schema_arrow.metadata or {})

    @staticmethod
    def _opened(path: Path) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise InvalidInput(f"{path} is not a readable Parquet file: {' '.join(str(error).split())}") from None


def _later(known: Session | None, new: Session) -> Session:
    return new if known is None or new.figures.generated_tokens >= known.figures.generated_tokens else known
