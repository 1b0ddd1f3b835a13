"""Sample: one root-to-leaf path, flattened for a trainer."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from treeroll.client.node import Float32, Int32, check_lengths, float32s, int32s, node_id, rewards_of
from treeroll.errors import BrokenInvariant
from treeroll.pb.v1 import common_pb2

SCHEMA_VERSION = 1

# Stop reasons of a path that was cut by a cap, not ended by the model.
TRUNCATED = frozenset({"length", "depth"})


@dataclass
class Sample:
    """One path. C is the number of completion tokens; per-token columns are [C], int32 or float32.

    Columns are made on first use: a trainer pays for what it reads.
    """

    schema_version: int
    sample_id: str
    """"<tree_id>:<path of the leaf>"."""
    tree_id: str
    task_id: str
    group_id: str
    """What advantages are relative to: the tree."""
    epoch: int
    index: int
    """Position in the group, in path order: the same whatever the placement."""
    group_size: int
    n_scored: int
    n_censored: int
    """Branches of the tree that were cut before they ended; the samples left favour short answers when it is not 0."""
    prompt_ids: Int32
    completion_ids: Int32
    completion_mask: Int32
    """1: made by the model."""
    prompt_text: str
    completion_text: str
    logprobs: Float32
    """Of each completion token when it was sampled, nats."""
    logprobs_mode: str
    temperature: float
    top_p: float
    top_k: int
    reward: float | None
    """In force for this leaf; None unless reward_status is "ok"."""
    rewards: dict[str, float | None]
    """Scorer name -> value of its newest version; None where it failed."""
    reward_status: str
    """"ok", "missing" (nobody scored it) or "error" (a scorer failed)."""
    advantages: Float32 | None
    """Per token, before batch whitening; None without a reward."""
    path_node_ids: list[str]
    """Nodes from depth 1 to the leaf."""
    path_offsets: Int32
    """Where each of them starts in completion_ids."""
    path_weight: float
    """Product of 1 / (children of the node) over boundary forks: with it, averages over leaves are unbiased."""
    loss_weights: Float32
    """Per token; 1 by default."""
    min_weight_version: int
    max_weight_version: int
    staleness: int | None
    """Trainer's version - min_weight_version; None when the trainer's version is not known."""
    status: str
    """Of the tree: "complete" or "partial"."""
    stop_reason: str
    is_truncated: bool
    """Cut by a length or depth cap."""
    tokenizer_hash: str
    answer: str | None
    extra: dict[str, Any]
    """The task's other fields."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A column that nobody has asked for yet."""
            make = _COLUMNS.get(name)
            path = self.__dict__.get("_path")
            if make is None or path is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            value = self.__dict__[name] = make(path)
            return value

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes: all columns, without the tree they are made from."""
        return {column.name: getattr(self, column.name) for column in fields(self)}


class _Segments:
    """What the samples of a tree share: its nodes, read once. Dicts are by node number."""

    __slots__ = ("extra", "ids", "logprobs", "names", "nodes", "parents", "tree_id", "version")

    def __init__(self, tree: common_pb2.Tree, version: int | None) -> None:
        self.tree_id = tree.tree_id
        self.version = version  # the trainer's
        self.extra: dict[str, Any] = json.loads(tree.extra_json) if tree.extra_json else {}
        self.nodes: dict[int, common_pb2.Node] = {}
        self.parents: dict[int, int] = {}
        self.ids: dict[int, bytes] = {}
        self.logprobs: dict[int, bytes] = {}
        self.names: dict[int, str] = {}
        for node in tree.nodes:
            number = node.number
            self.nodes[number] = node
            self.parents[number] = node.parent
            # Each access to a field makes an object: these two are what most of them are made for.
            self.ids[number] = ids = node.token_ids
            self.logprobs[number] = logprobs = node.logprobs
            if len(ids) != len(logprobs) and number:
                check_lengths(self.tree_id, node)

    def path(self, leaf: int) -> list[int]:
        """Numbers from depth 1 to the leaf; refuses holes, cycles and the bare root."""
        parents = self.parents
        path: list[int] = []
        number: int | None = leaf
        while number and len(path) < len(parents):
            path.append(number)
            number = parents.get(number)
        if number != 0 or not path or 0 not in parents:
            raise BrokenInvariant("TreeWellFormed", f"leaf {leaf} of tree {self.tree_id} does not lead up to the root")
        path.reverse()
        return path

    def name(self, path: Sequence[int]) -> str:
        """Sibling indices along a path, which begins at depth 1."""
        name = ""
        for number in path:
            known = self.names.get(number)
            if known is None:
                index = self.nodes[number].sibling_index
                known = self.names[number] = f"{name}.{index}" if name else str(index)
            name = known
        return name


class _Path:
    """Where the columns of one sample come from."""

    __slots__ = ("advantages", "credit", "numbers", "segments")

    def __init__(self, segments: _Segments, credit: common_pb2.LeafCredit) -> None:
        self.segments = segments
        self.credit = credit
        self.numbers = segments.path(credit.leaf)
        self.advantages = credit.advantages
        if self.advantages and len(self.advantages) != 8 * len(self.numbers):
            detail = f"{len(self.advantages) // 8} advantages for {len(self.numbers)} path nodes"
            raise BrokenInvariant("TreeWellFormed", f"leaf {self.name()} has {detail}")
        nodes, numbers = segments.nodes, self.numbers
        if not nodes[numbers[0]].weight_versions and not any(nodes[number].weight_versions for number in numbers):
            # An unknown version is an error, never a default.
            detail = f"no node on path {self.name()} names the weight version that made it"
            raise BrokenInvariant("StalenessBound", detail)

    def name(self) -> str:
        """Name of the leaf."""
        return node_id(self.segments.tree_id, self.segments.name(self.numbers))

    def leaf(self) -> common_pb2.Node:
        """The last node."""
        return self.segments.nodes[self.numbers[-1]]

    def joined(self, column: dict[int, bytes]) -> bytes:
        """One array of all segments."""
        return b"".join([column[number] for number in self.numbers])

    def lengths(self) -> list[int]:
        """Tokens of each segment."""
        ids = self.segments.ids
        return [len(ids[number]) // 4 for number in self.numbers]

    def versions(self) -> list[int]:
        """Weight versions along the path."""
        nodes = self.segments.nodes
        return [span.version for number in self.numbers for span in nodes[number].weight_versions]


def _text(path: _Path) -> str:
    nodes = path.segments.nodes
    return "".join([nodes[number].text for number in path.numbers])


def _node_ids(path: _Path) -> list[str]:
    segments = path.segments
    segments.name(path.numbers)
    return [node_id(segments.tree_id, segments.names[number]) for number in path.numbers]


def _token_advantages(path: _Path) -> Float32 | None:
    """One advantage per path node, spread over the node's tokens."""
    if not path.advantages:
        return None
    lengths = path.lengths()
    # One number for all is three times as fast.
    times = lengths[0] if lengths.count(lengths[0]) == len(lengths) else lengths
    return np.frombuffer(path.advantages, np.float64).astype(np.float32).repeat(times)


def _newest_rewards(path: _Path) -> dict[str, float | None]:
    return {reward.scorer: reward.value for reward in sorted(rewards_of(path.leaf()), key=lambda r: r.version)}


def _staleness(path: _Path) -> int | None:
    version = path.segments.version
    return None if version is None else version - min(path.versions())


_COLUMNS: Mapping[str, Callable[[_Path], Any]] = {
    "sample_id": _Path.name,
    "completion_ids": lambda path: int32s(path.joined(path.segments.ids)),
    "completion_mask": lambda path: np.ones(sum(path.lengths()), np.int32),
    "completion_text": _text,
    "logprobs": lambda path: float32s(path.joined(path.segments.logprobs)),
    "reward": lambda path: path.credit.reward if path.credit.HasField("reward") else None,
    "rewards": _newest_rewards,
    "reward_status": lambda path: path.credit.reward_status,
    "advantages": _token_advantages,
    "path_node_ids": _node_ids,
    "path_offsets": lambda path: np.cumsum([0, *path.lengths()[:-1]], dtype=np.int32),
    "path_weight": lambda path: path.credit.path_weight,
    "loss_weights": lambda path: np.ones(sum(path.lengths()), np.float32),
    "min_weight_version": lambda path: min(path.versions()),
    "max_weight_version": lambda path: max(path.versions()),
    "staleness": _staleness,
    "stop_reason": lambda path: path.leaf().stop_reason,
    "is_truncated": lambda path: path.leaf().stop_reason in TRUNCATED,
    "extra": lambda path: dict(path.segments.extra),
}


def samples_of(tree: common_pb2.Tree, *, current_version: int | None = None) -> list[Sample]:
    """One sample per complete leaf, in path order; none for a failed tree. Nodes may come in any order.

    `current_version` is the trainer's weight version, for `staleness`. BrokenInvariant for a tree that contradicts
    itself.
    """
    if not tree.leaves:
        return []
    segments = _Segments(tree, current_version)
    shared = _shared(tree, segments)
    return [_sample(shared, index, _Path(segments, credit)) for index, credit in enumerate(tree.leaves)]


def _shared(tree: common_pb2.Tree, segments: _Segments) -> dict[str, Any]:
    """What all samples of a tree have in common."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tree_id": tree.tree_id,
        "task_id": tree.task_id,
        "group_id": tree.tree_id,
        "epoch": tree.epoch,
        "group_size": len(tree.leaves),
        "n_scored": tree.n_scored,
        "n_censored": tree.n_censored,
        "prompt_ids": int32s(segments.ids.get(0, b"")),
        "prompt_text": tree.prompt_text,
        "logprobs_mode": tree.logprobs_mode,
        "temperature": tree.temperature,
        "top_p": tree.top_p,
        "top_k": tree.top_k,
        "status": tree.status,
        "tokenizer_hash": tree.tokenizer_hash,
        "answer": tree.answer if tree.HasField("answer") else None,
    }


def _sample(shared: dict[str, Any], index: int, path: _Path) -> Sample:
    sample = Sample.__new__(Sample)
    sample.__dict__ = {**shared, "index": index, "_path": path}
    return sample
