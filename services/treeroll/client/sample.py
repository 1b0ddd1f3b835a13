"""Samples: the root-to-leaf paths of a tree, flattened for a trainer."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from treeroll.client.paths import Path, Paths, segments_of, token_columns
from treeroll.pb.v1 import common_pb2
from treeroll.records.column import Column
from treeroll.records.fields import SAMPLE_COLUMNS, SCHEMA_VERSION, Float32, Int32, Sample
from treeroll.records.read import float32s, int32s, reader
from treeroll.records.split import split_nodes

# Stop reasons of a path that was cut by a cap, not ended by the model.
TRUNCATED = frozenset({"length", "depth"})


def _behind(path: Path, of: Callable[[list[int]], int]) -> int | None:
    version = path.tree.version
    return None if version is None else version - of(path.versions())


def _mask(path: Path) -> Int32:
    """0 on what is inserted, on observations, which begin and end the nodes that have any, and on others' nodes."""
    mask, end = np.ones(sum(path.lengths), np.int32), 0
    for node, length in zip(path.nodes(), path.lengths, strict=True):
        if node.inserted_tokens:
            mask[end : end + node.inserted_tokens] = 0
        if node.HasField("model"):
            mask[end : end + length] = 0
        end += length
        if node.observation_tokens:
            mask[end - node.observation_tokens : end] = 0
    return mask


def _temperatures(path: Path) -> Float32:
    """Those of the nodes; the tree's where a node has none of its own."""
    usual = path.tree.message.temperature
    own = [node.temperature if node.HasField("temperature") else usual for node in path.nodes()]
    return np.repeat(np.array(own, np.float32), path.lengths)


# Columns that are worked out of a path. All others are read as the table says, but for those that `samples_of` sets.
_MADE: Mapping[str, Callable[[Path], Any]] = {
    "schema_version": lambda _: SCHEMA_VERSION,
    "sample_id": lambda path: path.names()[-1],
    "group_size": lambda path: len(path.tree.message.leaves),
    "prompt_ids": lambda path: path.tree.prompt_ids,
    "model_mask": _mask,
    "temperatures": _temperatures,
    "entropies": lambda path: float32s(b"".join([node.entropies for node in path.nodes()])),
    "completion_text": lambda path: "".join([node.text for node in path.nodes()]),
    "path_node_ids": Path.names,
    "path_offsets": lambda path: np.cumsum([0, *path.lengths[:-1]], dtype=np.int32),
    "loss_weights": lambda path: np.ones(sum(path.lengths), np.float32),
    "min_weight_version": lambda path: min(path.versions()),
    "max_weight_version": lambda path: max(path.versions()),
    "kv_mixed": lambda path: any(node.kv_mixed for node in path.nodes()),
    "staleness": lambda path: _behind(path, min),
    "staleness_newest": lambda path: _behind(path, max),
    "is_truncated": lambda path: path.leaf().stop_reason in TRUNCATED,
    "extra": lambda path: dict(path.tree.extra),
}
_SET = frozenset({"index", "completion_ids", "logprobs", "advantages"})


def _made(column: Column) -> Callable[[Path], Any]:
    if column.name in _MADE:
        return _MADE[column.name]
    read = reader(column)
    if column.message == "Node":
        return lambda path: read(path.leaf(), path.tree.message)
    if column.message == "LeafCredit":
        return lambda path: read(path.credit, path.tree.message)
    return lambda path: read(path.tree.message, path.tree.message)


_COLUMNS = {column.name: _made(column) for column in SAMPLE_COLUMNS if column.name not in _SET}


class _Source(Paths):
    """Gives samples what they are asked for."""

    __slots__ = ()

    def read(self, name: str, index: int) -> Any:
        return _COLUMNS[name](self[index])


def samples_of(tree: common_pb2.Tree, *, current_version: int | None = None) -> list[Sample]:
    """One sample per complete leaf, in path order; none for a failed tree. Nodes may come in any order.

    `current_version` is the weights in force, for `staleness`. BrokenInvariant for a tree that contradicts
    itself.
    """
    if not tree.leaves:
        return []
    if tree.has_cuts:
        split_nodes(tree)
    segments = segments_of(tree)
    source = _Source(tree, segments, int32s(segments.token_ids[0]), current_version)
    samples = []
    for index, (ids, logprobs, advantages) in enumerate(token_columns(source, segments)):
        # One by one: a dictionary made for them would be one object more.
        sample: Any = Sample.__new__(Sample)
        sample._source = source
        sample.index = index
        sample.completion_ids = ids
        sample.logprobs = logprobs
        sample.advantages = advantages
        samples.append(sample)
    return samples
