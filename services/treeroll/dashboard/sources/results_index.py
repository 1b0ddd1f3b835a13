"""What a directory of results holds: a row per tree for lists, and where the rows of each tree lie in the files."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from treeroll.dashboard.index import CAUSES, PROMPT_CHARS, TreeIndex
from treeroll.results.reader import ResultReader

_SAMPLE_COLUMNS = ("tree_id", "reward", "prompt_text", "min_weight_version", "max_weight_version")


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive rows of one row group."""

    path: Path
    group: int
    first: int
    count: int

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """The rows."""
        with pq.ParquetFile(self.path) as file:
            return file.read_row_group(self.group, columns=columns).slice(self.first, self.count)


Signature = tuple[tuple[Path, int, int], ...]


@dataclass(slots=True)
class Contents:
    """One look at the directory."""

    signature: Signature
    index: TreeIndex = field(default_factory=TreeIndex)
    spans: dict[str, dict[str, list[Span]]] = field(default_factory=dict)
    """Kind -> tree -> where its rows are."""
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Tree -> its row in trees.parquet; of several the last."""
    changed_at: float = 0.0


def signature(reader: ResultReader) -> Signature:
    """What changes when the directory does."""
    files = [path for kind in ("trees", "nodes", "samples") for path in reader.files(kind)]
    return tuple((path, (stat := path.stat()).st_mtime_ns, stat.st_size) for path in files)


def read(reader: ResultReader) -> Contents:
    """Read the columns that lists need. Trees that were grown again are there once, as they ended last. InvalidInput
    for files of another version."""
    reader.check_version()
    found = Contents(signature(reader))
    found.changed_at = max((mtime for _, mtime, _ in found.signature), default=0) / 1e9
    for kind in ("nodes", "samples"):
        found.spans[kind] = _spans(reader, kind)
    samples = _of_samples(reader)
    for row in reader.rows("trees"):
        found.rows[row["tree_id"]] = row
    found.index.put(
        _index_row(place, row, found, samples.get(tree_id, {}))
        for place, (tree_id, row) in enumerate(found.rows.items())
    )
    return found


def _spans(reader: ResultReader, kind: str) -> dict[str, list[Span]]:
    """Where the rows of each tree are; in one row group they follow each other."""
    found: dict[str, list[Span]] = defaultdict(list)
    for path in reader.files(kind):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["tree_id"])["tree_id"].combine_chunks()
                if not len(ids):
                    continue
                codes = ids.dictionary_encode()
                codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
                numbers = codes.indices.to_numpy()
                firsts = np.flatnonzero(np.diff(numbers, prepend=-1))
                ends = np.append(firsts[1:], len(numbers))
                for first, end in zip(firsts.tolist(), ends.tolist(), strict=True):
                    tree_id = codes.dictionary[int(numbers[first])].as_py()
                    found[tree_id].append(Span(path, group, first, end - first))
    return dict(found)


def _of_samples(reader: ResultReader) -> dict[str, dict[str, Any]]:
    """Per tree what its samples say together."""
    found: dict[str, dict[str, Any]] = {}
    folds = [
        ("reward", "mean"),
        ("reward", "min"),
        ("reward", "max"),
        ("prompt_text", "min"),  # one and the same
        ("min_weight_version", "min"),
        ("max_weight_version", "max"),
    ]
    for table in reader.tables("samples", _SAMPLE_COLUMNS):
        for row in table.group_by("tree_id").aggregate(folds).to_pylist():
            found[row["tree_id"]] = row
    return found


def _index_row(place: int, row: dict[str, Any], contents: Contents, samples: dict[str, Any]) -> dict[str, Any]:
    low, high = samples.get("reward_min"), samples.get("reward_max")
    nodes = sum(span.count for span in contents.spans["nodes"].get(row["tree_id"], ()))
    same = ("tree_id", "run_id", "task_id", "epoch", "status", "stop_reason", "error", "model")
    figures = ("n_leaves", "n_scored", "n_censored", "spent", "wasted_tokens", "wall_s")
    return {
        "place": place,
        **{name: row[name] for name in (*same, *figures)},
        **dict.fromkeys(CAUSES),
        "nodes": nodes,
        "mean_reward": samples.get("reward_mean"),
        "min_reward": low,
        "max_reward": high,
        "spread": None if low is None or high is None else high - low,
        "min_version": samples.get("min_weight_version_min"),
        "max_version": samples.get("max_weight_version_max"),
        "replicas": json.dumps(row["replicas"]),
        "prompt": (samples.get("prompt_text_min") or "")[:PROMPT_CHARS],
    }
