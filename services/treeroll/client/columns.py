"""Arrow tables of samples and nodes: one fixed schema each, so that parts written one by one fit together.

Token columns are lists (int32 ids, float32 figures), `extra` is a JSON string. No column is a map, which Hugging Face
`datasets` cannot read. The schemas carry `treeroll.schema_version`.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from treeroll.client.records import SCHEMA_VERSION, Node, Sample

_METADATA = {b"treeroll.schema_version": str(SCHEMA_VERSION).encode()}
_INTS = pa.list_(pa.int32())
_FLOATS = pa.list_(pa.float32())

SAMPLE_SCHEMA = pa.schema(
    [
        pa.field("schema_version", pa.int32(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("tree_id", pa.string(), nullable=False),
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("group_id", pa.string(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("group_size", pa.int32(), nullable=False),
        pa.field("group", pa.int32(), nullable=False),
        pa.field("n_scored", pa.int32(), nullable=False),
        pa.field("n_censored", pa.int32(), nullable=False),
        pa.field("prompt_ids", _INTS, nullable=False),
        pa.field("completion_ids", _INTS, nullable=False),
        pa.field("completion_mask", _INTS, nullable=False),
        pa.field("prompt_text", pa.string(), nullable=False),
        pa.field("completion_text", pa.string(), nullable=False),
        pa.field("logprobs", _FLOATS, nullable=False),
        pa.field("logprobs_mode", pa.string(), nullable=False),
        pa.field("entropies", _FLOATS, nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("temperature", pa.float32(), nullable=False),
        pa.field("top_p", pa.float32(), nullable=False),
        pa.field("top_k", pa.int32(), nullable=False),
        pa.field("reward", pa.float64()),
        pa.field("rewards", pa.list_(pa.struct({"scorer": pa.string(), "value": pa.float64()})), nullable=False),
        pa.field("reward_status", pa.string(), nullable=False),
        pa.field("advantages", _FLOATS),
        pa.field("path_node_ids", pa.list_(pa.string()), nullable=False),
        pa.field("path_offsets", _INTS, nullable=False),
        pa.field("path_weight", pa.float64(), nullable=False),
        pa.field("loss_weights", _FLOATS, nullable=False),
        pa.field("min_weight_version", pa.int64(), nullable=False),
        pa.field("max_weight_version", pa.int64(), nullable=False),
        pa.field("staleness", pa.int64()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("stop_reason", pa.string(), nullable=False),
        pa.field("is_truncated", pa.bool_(), nullable=False),
        pa.field("tokenizer_hash", pa.string(), nullable=False),
        pa.field("answer", pa.string()),
        pa.field("extra", pa.string(), nullable=False),
    ],
    metadata=_METADATA,
)

NODE_SCHEMA = pa.schema(
    [
        pa.field("node_id", pa.string(), nullable=False),
        pa.field("tree_id", pa.string(), nullable=False),
        pa.field("parent_id", pa.string()),
        pa.field("path", pa.string(), nullable=False),
        pa.field("depth", pa.int32(), nullable=False),
        pa.field("sibling_index", pa.int32(), nullable=False),
        pa.field("token_start", pa.int32(), nullable=False),
        pa.field("token_ids", _INTS, nullable=False),
        pa.field("logprobs", _FLOATS, nullable=False),
        pa.field("logprobs_mode", pa.string(), nullable=False),
        pa.field("entropies", _FLOATS, nullable=False),
        pa.field("weight_versions", pa.list_(pa.struct({"version": pa.int64(), "tokens": pa.int32()})), nullable=False),
        pa.field("inserted_tokens", pa.int32(), nullable=False),
        pa.field("observation_tokens", pa.int32(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("temperature", pa.float32(), nullable=False),
        pa.field("max_tokens", pa.int32()),
        pa.field("top_p", pa.float32(), nullable=False),
        pa.field("top_k", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("branch_reason", pa.string(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),
        pa.field("group", pa.int32(), nullable=False),
        pa.field("select_prob", pa.float64()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("stop_reason", pa.string(), nullable=False),
        pa.field("replica_id", pa.string(), nullable=False),
        pa.field("incarnation", pa.int64(), nullable=False),
        pa.field("attempt", pa.int32(), nullable=False),
        pa.field("cached_tokens", pa.int32()),
        pa.field("recomputed_tokens", pa.int32()),
        pa.field("dropped_tokens", pa.int32(), nullable=False),
        pa.field("started_at", pa.float64(), nullable=False),
        pa.field("finished_at", pa.float64(), nullable=False),
        pa.field(
            "rewards",
            pa.list_(
                pa.struct({"scorer": pa.string(), "version": pa.int32(), "value": pa.float64(), "error": pa.string()})
            ),
            nullable=False,
        ),
        pa.field("value", pa.float64()),
        pa.field("n_leaves", pa.int32(), nullable=False),
        pa.field("tin", pa.int32(), nullable=False),
        pa.field("tout", pa.int32(), nullable=False),
    ],
    metadata=_METADATA,
)

# Columns that Arrow cannot take as they are.
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "extra": json.dumps,
    "weight_versions": lambda spans: [span._asdict() for span in spans],
}
_NODE_CONVERSIONS = _CONVERSIONS | {"rewards": lambda rewards: [reward._asdict() for reward in rewards]}
_SAMPLE_CONVERSIONS = _CONVERSIONS | {
    "rewards": lambda rewards: [{"scorer": scorer, "value": value} for scorer, value in rewards.items()]
}


def samples_table(samples: Sequence[Sample]) -> pa.Table:
    """Samples as a table of SAMPLE_SCHEMA, one row each; no rows for no samples."""
    return _table(samples, SAMPLE_SCHEMA, _SAMPLE_CONVERSIONS)


def nodes_table(nodes: Sequence[Node]) -> pa.Table:
    """Nodes as a table of NODE_SCHEMA, one row each; no rows for no nodes."""
    return _table(nodes, NODE_SCHEMA, _NODE_CONVERSIONS)


def _table(records: Sequence[Any], schema: pa.Schema, conversions: dict[str, Callable[[Any], Any]]) -> pa.Table:
    columns = []
    for column in schema:
        values = [getattr(record, column.name) for record in records]
        if column.type in (_INTS, _FLOATS):
            columns.append(_ragged(values, column.type))
            continue
        convert = conversions.get(column.name)
        columns.append(pa.array(map(convert, values) if convert else values, column.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _ragged(rows: Sequence[np.ndarray[Any, Any] | None], kind: pa.ListType) -> pa.ListArray:
    """A list column from one array per row: one concatenation instead of one Python object per token."""
    lengths = [0 if row is None else len(row) for row in rows]
    filled = [row for row in rows if row is not None]
    values = np.concatenate(filled) if filled else np.empty(0, kind.value_type.to_pandas_dtype())
    missing = pa.array([row is None for row in rows], pa.bool_()) if len(filled) < len(rows) else None
    offsets = pa.array(np.cumsum([0, *lengths]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(values, kind.value_type), type=kind, mask=missing)
