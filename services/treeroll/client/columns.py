"""Arrow tables of samples, nodes, trees and decisions: a fixed schema each, so that parts written one by one fit.

The columns are those of the table of fields. Mappings of a task's are JSON strings, and no column is a map, which
Hugging Face `datasets` cannot read. The schemas carry `treeroll.schema_version`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from treeroll.client.records import SCHEMA_VERSION, Node, Sample, TreeRow
from treeroll.records.column import Column, DType
from treeroll.records.decision import DECISION_COLUMNS, Decision
from treeroll.records.fields import NODE_COLUMNS, SAMPLE_COLUMNS, TREE_COLUMNS
from treeroll.why import Why

_REWARD = {"scorer": pa.string(), "version": pa.int32(), "value": pa.float64(), "error": pa.string()}
_TYPES: Mapping[DType, pa.DataType] = {
    DType.BOOL: pa.bool_(),
    DType.INT32: pa.int32(),
    DType.INT64: pa.int64(),
    DType.FLOAT32: pa.float32(),
    DType.FLOAT64: pa.float64(),
    DType.STRING: pa.string(),
    DType.TEXT: pa.string(),
    DType.JSON: pa.string(),
    DType.STRINGS: pa.list_(pa.string()),
    DType.INT32S: pa.list_(pa.int32()),
    DType.FLOAT32S: pa.list_(pa.float32()),
    DType.SPANS: pa.list_(pa.struct({"version": pa.int64(), "tokens": pa.int32()})),
    DType.REWARDS: pa.list_(pa.struct(_REWARD)),
    DType.WHY: pa.struct(
        {"rule": pa.string(), "terms": pa.list_(pa.struct({"name": pa.string(), "value": pa.float64()}))}
    ),
    DType.SCORES: pa.list_(pa.struct({"scorer": pa.string(), "value": pa.float64()})),
}


def _why(why: Why | None) -> Any:
    return None if why is None else {"rule": why.rule, "terms": [{"name": n, "value": v} for n, v in why.terms]}


# Values that Arrow cannot take as they are.
_CONVERSIONS: Mapping[DType, Callable[[Any], Any]] = {
    DType.JSON: json.dumps,
    DType.SPANS: lambda spans: [span._asdict() for span in spans],
    DType.REWARDS: lambda rewards: [reward._asdict() for reward in rewards],
    DType.WHY: _why,
    DType.SCORES: lambda scores: [{"scorer": scorer, "value": value} for scorer, value in scores.items()],
}


def _schema(columns: Sequence[Column]) -> pa.Schema:
    fields = [pa.field(column.name, _TYPES[column.dtype], nullable=column.nullable) for column in columns]
    return pa.schema(fields, metadata={b"treeroll.schema_version": str(SCHEMA_VERSION).encode()})


SAMPLE_SCHEMA = _schema(SAMPLE_COLUMNS)
NODE_SCHEMA = _schema(NODE_COLUMNS)
TREE_SCHEMA = _schema(TREE_COLUMNS)
DECISION_SCHEMA = _schema(DECISION_COLUMNS)


def samples_table(samples: Sequence[Sample]) -> pa.Table:
    """Samples as a table of SAMPLE_SCHEMA, one row each; no rows for no samples."""
    return _table(samples, SAMPLE_COLUMNS, SAMPLE_SCHEMA)


def nodes_table(nodes: Sequence[Node]) -> pa.Table:
    """Nodes as a table of NODE_SCHEMA, one row each; no rows for no nodes."""
    return _table(nodes, NODE_COLUMNS, NODE_SCHEMA)


def trees_table(trees: Sequence[TreeRow]) -> pa.Table:
    """Trees as a table of TREE_SCHEMA, one row each; no rows for no trees."""
    return _table(trees, TREE_COLUMNS, TREE_SCHEMA)


def decisions_table(decisions: Sequence[Decision]) -> pa.Table:
    """Decisions as a table of DECISION_SCHEMA, one row each; no rows for no decisions."""
    return _table(decisions, DECISION_COLUMNS, DECISION_SCHEMA)


def _table(records: Sequence[Any], columns: Sequence[Column], schema: pa.Schema) -> pa.Table:
    arrays = [_array([getattr(record, column.name) for record in records], column.dtype) for column in columns]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: list[Any], dtype: DType) -> pa.Array:
    if dtype in (DType.INT32S, DType.FLOAT32S):
        return _ragged(values, _TYPES[dtype])
    convert = _CONVERSIONS.get(dtype)
    return pa.array(map(convert, values) if convert else values, _TYPES[dtype])


def _ragged(rows: Sequence[np.ndarray[Any, Any] | None], kind: pa.ListType) -> pa.ListArray:
    """A list column from one array per row: one concatenation instead of one Python object per token."""
    lengths = [0 if row is None else len(row) for row in rows]
    filled = [row for row in rows if row is not None]
    values = np.concatenate(filled) if filled else np.empty(0, kind.value_type.to_pandas_dtype())
    missing = pa.array([row is None for row in rows], pa.bool_()) if len(filled) < len(rows) else None
    offsets = pa.array(np.cumsum([0, *lengths]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(values, kind.value_type), type=kind, mask=missing)
