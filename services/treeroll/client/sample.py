"""Sample: one root-to-leaf path, flattened for a trainer."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from treeroll.client.node import Float32, Int32, check_node, float32s, int32s, node_id, rewards_of
from treeroll.errors import BrokenInvariant
from treeroll.pb.v1 import common_pb2

SCHEMA_VERSION = 1

# Stop reasons of a path that was cut by a cap, not ended by the model.
TRUNCATED = frozenset({"length", "depth"})


@dataclass(slots=True)
class Sample:
    """One path. C is the number of completion tokens; per-token columns are [C], int32 or float32."""

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


def samples_of(tree: common_pb2.Tree, *, current_version: int | None = None) -> list[Sample]:
    """One sample per complete leaf, in path order; none for a failed tree.

    `current_version` is the trainer's weight version, for `staleness`. BrokenInvariant for a tree that contradicts
    itself.
    """
    nodes = {node.number: node for node in tree.nodes}
    extra = json.loads(tree.extra_json) if tree.extra_json else {}
    return [_sample(tree, nodes, index, extra, current_version) for index in range(len(tree.leaves))]


def _sample(
    tree: common_pb2.Tree, nodes: dict[int, common_pb2.Node], index: int, extra: dict[str, Any], version: int | None
) -> Sample:
    credit = tree.leaves[index]
    path = _lineage(tree.tree_id, nodes, credit.leaf)
    leaf = path[-1]
    lengths = [len(node.token_ids) // 4 for node in path]
    oldest, newest = _versions(path)
    completion = int32s(b"".join(node.token_ids for node in path))
    return Sample(
        schema_version=SCHEMA_VERSION,
        sample_id=node_id(tree.tree_id, leaf.path),
        tree_id=tree.tree_id,
        task_id=tree.task_id,
        group_id=tree.tree_id,
        epoch=tree.epoch,
        index=index,
        group_size=len(tree.leaves),
        n_scored=tree.n_scored,
        n_censored=tree.n_censored,
        prompt_ids=int32s(nodes[0].token_ids),
        completion_ids=completion,
        completion_mask=np.ones(len(completion), np.int32),
        prompt_text=tree.prompt_text,
        completion_text="".join(node.text for node in path),
        logprobs=float32s(b"".join(node.logprobs for node in path)),
        logprobs_mode=tree.logprobs_mode,
        temperature=tree.temperature,
        top_p=tree.top_p,
        top_k=tree.top_k,
        reward=credit.reward if credit.HasField("reward") else None,
        rewards=_newest_rewards(leaf),
        reward_status=credit.reward_status,
        advantages=_token_advantages(tree.tree_id, leaf, credit, lengths),
        path_node_ids=[node_id(tree.tree_id, node.path) for node in path],
        path_offsets=np.cumsum([0, *lengths[:-1]], dtype=np.int32),
        path_weight=credit.path_weight,
        loss_weights=np.ones(len(completion), np.float32),
        min_weight_version=oldest,
        max_weight_version=newest,
        staleness=None if version is None else version - oldest,
        status=tree.status,
        stop_reason=leaf.stop_reason,
        is_truncated=leaf.stop_reason in TRUNCATED,
        tokenizer_hash=tree.tokenizer_hash,
        answer=tree.answer if tree.HasField("answer") else None,
        extra=dict(extra),
    )


def _lineage(tree_id: str, nodes: dict[int, common_pb2.Node], leaf: int) -> list[common_pb2.Node]:
    """Nodes from depth 1 to the leaf; refuses holes, cycles and the bare root."""
    path: list[common_pb2.Node] = []
    number = leaf
    while number != 0:
        node = nodes.get(number)
        if node is None or len(path) >= len(nodes):
            raise BrokenInvariant("TreeWellFormed", f"leaf {leaf} of tree {tree_id} does not lead up to the root")
        check_node(tree_id, node)
        path.append(node)
        number = node.parent
    if not path or 0 not in nodes:
        raise BrokenInvariant("TreeWellFormed", f"tree {tree_id} names leaf {leaf} but has no such path")
    return path[::-1]


def _versions(path: Sequence[common_pb2.Node]) -> tuple[int, int]:
    """Oldest and newest weight version on a path; an unknown version is an error, never a default."""
    versions = [span.version for node in path for span in node.weight_versions]
    if not versions:
        raise BrokenInvariant(
            "StalenessBound", f"no node on path {path[-1].path} names the weight version that made it"
        )
    return min(versions), max(versions)


def _newest_rewards(leaf: common_pb2.Node) -> dict[str, float | None]:
    return {reward.scorer: reward.value for reward in sorted(rewards_of(leaf), key=lambda reward: reward.version)}


def _token_advantages(
    tree_id: str, leaf: common_pb2.Node, credit: common_pb2.LeafCredit, lengths: Sequence[int]
) -> Float32 | None:
    """One advantage per path node, spread over the node's tokens."""
    if not credit.advantages:
        return None
    per_node = np.frombuffer(credit.advantages, "<f8")
    if len(per_node) != len(lengths):
        detail = f"{len(per_node)} advantages for {len(lengths)} path nodes"
        raise BrokenInvariant("TreeWellFormed", f"leaf {node_id(tree_id, leaf.path)} has {detail}")
    return np.repeat(per_node.astype(np.float32), lengths)
