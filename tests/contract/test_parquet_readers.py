"""The Parquet files of a rollout and of a batch, opened by what trainers and people open them with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.trees import sample_tree
from tests.unit.test_batch import batch_of

from treeroll.client.columns import NODE_SCHEMA, SAMPLE_SCHEMA, TREE_SCHEMA
from treeroll.client.records import TreeRecord
from treeroll.pb.v1 import common_pb2
from treeroll.results.directory import ResultDir
from treeroll.results.merge import merge
from treeroll.results.parts import PartWriter
from treeroll.results.session import Session

Rows = list[dict[str, Any]]


def with_datasets(path: Path, *, streaming: bool = False) -> Rows:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(
        "parquet", data_files=str(path), split="train", streaming=streaming, cache_dir=str(path.parent / "cache")
    )
    return list(loaded)


def with_streaming_datasets(path: Path) -> Rows:
    return with_datasets(path, streaming=True)


def with_pandas(path: Path) -> Rows:
    return cast(Rows, pytest.importorskip("pandas").read_parquet(path).to_dict("records"))


def with_polars(path: Path) -> Rows:
    return cast(Rows, pytest.importorskip("polars").read_parquet(path).to_dicts())


def with_duckdb(path: Path) -> Rows:
    rows = pytest.importorskip("duckdb").connect().read_parquet(str(path))
    return [dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall()]


READERS = [with_datasets, with_streaming_datasets, with_pandas, with_polars, with_duckdb]


def tree(tree_id: str, task_id: str) -> common_pb2.Tree:
    """With a failed scorer beside one that answered, entropies, and a leaf without reward or advantages."""
    made = sample_tree(tree_id, task_id)
    leaf = next(node for node in made.nodes if node.number == 2)
    leaf.rewards.append(common_pb2.Reward(scorer="judge", version=2, error="timeout"))
    for node in made.nodes:
        node.entropies = node.logprobs
    return made


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """Every kind of Parquet file that we write: a rollout's, parts and merged, and a batch's."""
    directory = ResultDir(tmp_path / "out")
    directory.path.mkdir()
    writer = PartWriter(directory, 0)
    for tree_id in ("t0", "t1"):
        writer.write([TreeRecord.from_proto(tree(tree_id, tree_id))], Session("run-1"))
    merge(directory, {"run-1": Session("run-1")})
    batch_of(tree("t0", "t0")).to_parquet(tmp_path / "batch.parquet")
    return {
        "samples": directory.merged("samples"),
        "nodes": directory.merged("nodes"),
        "trees": directory.merged("trees"),
        "a part of samples": directory.part("samples", 1),
        "a batch": tmp_path / "batch.parquet",
    }


@pytest.mark.parametrize("what", ["samples", "nodes", "trees", "a part of samples", "a batch"])
@pytest.mark.parametrize("read", READERS)
def test_every_reader_gives_the_rows_that_were_written(
    written: dict[str, Path], read: Callable[[Path], Rows], what: str
) -> None:
    expected = pq.read_table(written[what]).to_pylist()
    assert [plain(row) for row in read(written[what])] == expected


def plain(value: Any) -> Any:
    """A reader's value with lists for arrays and None for what pandas makes of it."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if value != value else value  # a NaN


def types_in(kind: pa.DataType) -> list[pa.DataType]:
    """The type and all that it is made of."""
    parts = [kind.field(index).type for index in range(kind.num_fields)]
    return [kind, *(inner for part in parts for inner in types_in(part))]


@pytest.mark.parametrize("schema", [SAMPLE_SCHEMA, NODE_SCHEMA, TREE_SCHEMA])
def test_columns_are_made_of_types_that_every_reader_knows(schema: pa.Schema) -> None:
    known = (pa.types.is_integer, pa.types.is_floating, pa.types.is_string, pa.types.is_boolean)
    for column in schema:
        for kind in types_in(column.type):
            assert pa.types.is_list(kind) or pa.types.is_struct(kind) or any(is_it(kind) for is_it in known), column
