"""Node columns of a shape from Arrow tables of nodes, as `records.fields` has them."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from treeroll.dashboard.shape import NO_PARENT, Shape, Words, means_of_leaves

# What of a node a shape is made of.
NODE_COLUMNS = (
    "tree_id",
    "node_id",
    "parent_id",
    "path",
    "token_start",
    "logprobs",
    "entropies",
    "weight_versions",
    "sibling_index",
    "branch_reason",
    "decision",
    "status",
    "stop_reason",
    "replica_id",
    "started_at",
    "finished_at",
    "value",
    "n_leaves",
)


def shape_of(nodes: pa.Table, advantages: dict[str, float], prompt_tokens: int = 0) -> Shape:
    """Nodes of which parents come before their children; `advantages` by node id of scored leaves.

    A node has as many tokens as logprobs, but for the root, the `prompt_tokens`, behind which its children begin: ids
    of tokens are half of what is stored, and are not read for a picture. ValueError if a parent is missing.
    """
    nodes = nodes.combine_chunks()
    parents = _parents(nodes)
    ids = {node_id: number for number, node_id in enumerate(nodes["node_id"].to_pylist())}
    scored = [(ids[node_id], value) for node_id, value in advantages.items() if node_id in ids]
    leaves = np.array([number for number, _ in scored], np.int64)
    values = np.array([value for _, value in scored], np.float64)
    status, stop, reason, replica = Words(), Words(), Words(), Words()
    versions, version_words = _versions(nodes)
    columns: dict[str, NDArray[Any]] = {
        "parent": np.where(parents < 0, NO_PARENT, parents).astype("<u4"),
        "token_start": _numbers(nodes["token_start"]),
        "tokens": _tokens(nodes, prompt_tokens),
        "leaves": _numbers(nodes["n_leaves"]),
        "lp_sum": _folded(nodes["logprobs"], np.add),
        "lp_min": _folded(nodes["logprobs"], np.minimum),
        "entropy": _folded(nodes["entropies"], np.add) / np.maximum(_sizes(nodes["entropies"]), 1),
        "value": _numbers(nodes["value"].cast(pa.float64()), np.nan),
        "advantage": means_of_leaves(parents, leaves, values),
        "seconds": _numbers(pc.subtract(nodes["finished_at"], nodes["started_at"]), np.nan),
        "sibling": np.minimum(_numbers(nodes["sibling_index"]), 0xFFFF),
        "version": versions,
        "status": status.codes(nodes["status"].to_pylist()),
        "stop": stop.codes(nodes["stop_reason"].to_pylist()),
        "reason": reason.codes(nodes["branch_reason"].to_pylist()),
        "replica": replica.codes(nodes["replica_id"].to_pylist()),
    }
    words = {
        "status": status.words,
        "stop": stop.words,
        "reason": reason.words,
        "replica": replica.words,
        "version": version_words,
    }
    return Shape(columns, words)


def _parents(nodes: pa.Table) -> NDArray[np.int64]:
    """Numbers of the parents, -1 for the root."""
    found = pc.index_in(nodes["parent_id"], value_set=nodes["node_id"])
    parents: NDArray[np.int64] = pc.fill_null(found, -1).to_numpy().astype(np.int64)
    if len(parents) and (parents[0] != -1 or (parents[1:] < 0).any() or (parents >= np.arange(len(parents))).any()):
        raise ValueError("a node stands before its parent, or has none; `treeroll audit` says more")
    return parents


def _numbers(column: pa.ChunkedArray, missing: float = 0) -> NDArray[Any]:
    found: NDArray[Any] = pc.fill_null(column, missing).to_numpy()
    return found


def _sizes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return _numbers(pc.list_value_length(column)).astype(np.int64)


def _tokens(nodes: pa.Table, prompt_tokens: int) -> NDArray[np.int64]:
    sizes = _sizes(nodes["logprobs"]).copy()
    if len(sizes):
        sizes[0] = nodes["token_start"][1].as_py() if len(sizes) > 1 else prompt_tokens
    return sizes


def _folded(column: pa.ChunkedArray, how: np.ufunc) -> NDArray[np.float64]:
    """Per node the sum or the minimum of its per-token values; NaN where it has none."""
    sizes = _sizes(column)
    found = np.full(len(sizes), np.nan)
    some = sizes > 0
    if some.any():
        flat = pc.list_flatten(column).to_numpy()
        firsts = (np.cumsum(sizes) - sizes)[some]
        found[some] = how.reduceat(flat, firsts, dtype=np.float64)
    return found


def _versions(nodes: pa.Table) -> tuple[NDArray[np.int64], list[str]]:
    """Per node a number for its oldest weights, and the versions that the numbers stand for; 65535: none."""
    spans = nodes["weight_versions"]
    sizes = _sizes(spans)
    found = np.full(len(sizes), 0xFFFF, np.int64)
    if not sizes.any():
        return found, []
    flat = pc.struct_field(pc.list_flatten(spans), "version").to_numpy()
    oldest = np.minimum.reduceat(flat, (np.cumsum(sizes) - sizes)[sizes > 0])
    known, codes = np.unique(oldest, return_inverse=True)
    found[sizes > 0] = np.minimum(codes, 0xFFFE)
    return found, [str(version) for version in known.tolist()]
