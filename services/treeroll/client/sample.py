"""Sample: one root-to-leaf path, flattened for a trainer."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from treeroll.client.node import Float32, Int32, Reward, float32s, int32s, rewards_of
from treeroll.client.paths import Path, Paths, segments_of, token_columns
from treeroll.pb.v1 import common_pb2
from treeroll.records.split import split_nodes

SCHEMA_VERSION = 1

# Columns that rewards written back may change.
CREDIT = ("n_scored", "reward", "rewards", "reward_status", "advantages")
# Stop reasons of a path that was cut by a cap, not ended by the model.
TRUNCATED = frozenset({"length", "depth"})


@dataclass
class Sample:
    """One path. C is the number of completion tokens; per-token columns are [C], int32 or float32.

    Token ids, logprobs and advantages are made for the whole tree at once; all else on first use, because a trainer
    pays for what it reads.
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
    group: int
    """Label that growth gave the leaf's branch, from 1, for credit to compare leaves of one tree by; 0 is none."""
    n_scored: int
    n_censored: int
    """Branches of the tree that were cut before they ended; the samples left favour short answers when it is not 0."""
    prompt_ids: Int32
    completion_ids: Int32
    completion_mask: Int32
    """1: made by `model`; 0: a tool's observation, inserted by the branch policy, or made by another model."""
    prompt_text: str
    completion_text: str
    logprobs: Float32
    """Of each completion token when it was sampled, nats."""
    logprobs_mode: str
    entropies: Float32
    """Top-k entropy estimate of each completion token, nats; empty unless the run asked for `top_logprobs`."""
    model: str
    """Of the service's models the one that grew its tree; "" if there is only one, without a name. Branches may be of
    another: the nodes of `path_node_ids` say theirs."""
    temperature: float
    """The run's. Branches may have sampled at another: the nodes of `path_node_ids` say theirs."""
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
    """With it, averages over leaves are unbiased: the product of 1 / (children of the node that count).

    Children count that a boundary decision started and that had no model, temperature, inserted text or token limit of
    their own; below others it is 0.
    """
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
            paths: Paths | None = self.__dict__.get("_paths")
            if paths is not None and name in _COLUMNS:
                value = _COLUMNS[name](paths[self.index])
            elif paths is not None and name in paths.shared:
                value = paths.shared[name]
            else:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            self.__dict__[name] = value
            return value

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *(column.name for column in fields(self))]

    def renew(self, fresh: "Sample") -> None:
        """Take over the credit of the same path, read later. All other columns stay, whoever wrote them."""
        for name in CREDIT:
            setattr(self, name, getattr(fresh, name))

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes: all columns, without the tree they are made from."""
        return {column.name: getattr(self, column.name) for column in fields(self)}


def newest_rewards(rewards: Iterable[Reward]) -> dict[str, float | None]:
    """Scorer name -> value of its newest version."""
    return {reward.scorer: reward.value for reward in sorted(rewards, key=lambda r: r.version)}


def _staleness(path: Path) -> int | None:
    version = path.tree.version
    return None if version is None else version - min(path.versions())


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


_COLUMNS: Mapping[str, Callable[[Path], Any]] = {
    "sample_id": lambda path: path.names()[-1],
    "group": lambda path: path.leaf().group,
    "completion_mask": _mask,
    "entropies": lambda path: float32s(b"".join([node.entropies for node in path.nodes()])),
    "completion_text": lambda path: "".join([node.text for node in path.nodes()]),
    "reward": lambda path: path.credit.reward if path.credit.HasField("reward") else None,
    "rewards": lambda path: newest_rewards(rewards_of(path.leaf())),
    "reward_status": lambda path: path.credit.reward_status,
    "path_node_ids": Path.names,
    "path_offsets": lambda path: np.cumsum([0, *path.lengths[:-1]], dtype=np.int32),
    "path_weight": lambda path: path.credit.path_weight,
    "loss_weights": lambda path: np.ones(sum(path.lengths), np.float32),
    "min_weight_version": lambda path: min(path.versions()),
    "max_weight_version": lambda path: max(path.versions()),
    "staleness": _staleness,
    "stop_reason": lambda path: path.leaf().stop_reason,
    "is_truncated": lambda path: path.leaf().stop_reason in TRUNCATED,
    "extra": lambda path: dict(path.tree.extra),
}


def samples_of(tree: common_pb2.Tree, *, current_version: int | None = None) -> list[Sample]:
    """One sample per complete leaf, in path order; none for a failed tree. Nodes may come in any order.

    `current_version` is the trainer's weight version, for `staleness`. BrokenInvariant for a tree that contradicts
    itself.
    """
    if not tree.leaves:
        return []
    if tree.has_cuts:
        split_nodes(tree)
    segments = segments_of(tree)
    paths = Paths(tree, segments, current_version)
    paths.shared = _shared(tree) | {"prompt_ids": int32s(segments.token_ids[0])}
    samples = []
    for index, (ids, logprobs, advantages) in enumerate(token_columns(paths, segments)):
        # One by one: a dictionary made for them would be one object more.
        sample: Any = Sample.__new__(Sample)
        sample._paths = paths
        sample.index = index
        sample.completion_ids = ids
        sample.logprobs = logprobs
        sample.advantages = advantages
        samples.append(sample)
    return samples


def _shared(tree: common_pb2.Tree) -> dict[str, Any]:
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
        "prompt_text": tree.prompt_text,
        "logprobs_mode": tree.logprobs_mode,
        "model": tree.model,
        "temperature": tree.temperature,
        "top_p": tree.top_p,
        "top_k": tree.top_k,
        "status": tree.status,
        "tokenizer_hash": tree.tokenizer_hash,
        "answer": tree.answer if tree.HasField("answer") else None,
    }
