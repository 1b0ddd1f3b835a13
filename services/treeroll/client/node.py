"""Node: one segment of tokens, as people and trainers read it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from treeroll.errors import BrokenInvariant
from treeroll.pb.v1 import common_pb2

Int32 = NDArray[np.int32]
Float32 = NDArray[np.float32]

_INT32, _FLOAT32 = np.dtype("<i4"), np.dtype("<f4")


class WeightSpan(NamedTuple):
    """Consecutive tokens made by one weight version."""

    version: int
    tokens: int


class Reward(NamedTuple):
    """What one scorer version said about one node. `value` is None when the scorer failed; `error` then says why."""

    scorer: str
    version: int
    value: float | None
    error: str


@dataclass(slots=True)
class Node:
    """One segment. The root holds the prompt; every other node holds only its own tokens."""

    node_id: str
    """"<tree_id>:<path>"; the root's path is empty."""
    tree_id: str
    parent_id: str | None
    """None for the root."""
    path: str
    """Sibling indices from the root down, joined by dots."""
    depth: int
    """Segments between the root and this node."""
    sibling_index: int
    """0 is the branch that ran on through the boundary."""
    token_start: int
    """Position of the first token in the whole sequence, prompt included."""
    token_ids: Int32
    logprobs: Float32
    """Of each token when it was sampled, nats; empty for the root."""
    logprobs_mode: str
    """"processed" (of the distribution sampled from) or "raw"."""
    entropies: Float32
    """Top-k entropy estimate of each token, nats; empty unless the run asked for `top_logprobs`."""
    weight_versions: list[WeightSpan]
    """Spans that cover the sampled ones of token_ids in order; empty for the root."""
    inserted_tokens: int
    """Of token_ids, at the beginning, so many were put there by the branch policy: otherwise as an observation."""
    observation_tokens: int
    """Of token_ids, at the end, so many are a tool's observation: not sampled, logprob 0, in no weight span."""
    model: str
    """Which of the service's models made it: the tree's, or the branch's own; "" without names."""
    temperature: float
    """What its branch sampled at: the run's, or the branch's own."""
    max_tokens: int | None
    """Most completion tokens that its branch may have come to; None: the run's."""
    top_p: float
    top_k: int
    text: str
    branch_reason: str
    """Why the branch that made it was started: "prompt" (root), "initial", "fork", "fallback". All its nodes say so."""
    decision: str
    """"boundary" or "retrospective": what the decision to start the branch had read."""
    group: int
    """Label that growth gave the branch, from 1, for credit to compare leaves by; 0 is none."""
    select_prob: float | None
    """Probability with which a sampling policy chose this node; None when the choice was not random."""
    status: str
    """"inner", "leaf", "pruned" or "open"."""
    stop_reason: str
    """Of leaves: "eos", "answer", "length", "depth", ...; else empty."""
    replica_id: str
    incarnation: int
    attempt: int
    """1 for the branch's first try, +1 for each re-grant after a loss."""
    cached_tokens: int | None
    """Prefix tokens found in the KV cache; None for a node that a running request reached by decoding on."""
    recomputed_tokens: int | None
    dropped_tokens: int
    """Tokens past this node, reported with it and thrown away; overshoot of stopped branches is in the run's waste."""
    started_at: float
    """Seconds since the epoch, for people only."""
    finished_at: float
    rewards: list[Reward]
    value: float | None
    """Mean reward of the scored leaves at or below; None when none is scored."""
    n_leaves: int
    """Complete leaves at or below."""
    tin: int
    """Depth-first interval: q sees k exactly if tin[k] <= tin[q] < tout[k]."""
    tout: int


def int32s(raw: bytes) -> Int32:
    """Little-endian bytes as a read-only int32 array, without a copy."""
    return np.frombuffer(raw, _INT32)


def float32s(raw: bytes) -> Float32:
    """Little-endian bytes as a read-only float32 array, without a copy."""
    return np.frombuffer(raw, _FLOAT32)


def nodes_of(tree: common_pb2.Tree) -> list[Node]:
    """All nodes of a tree, root first, parents before children. BrokenInvariant if tokens and logprobs do not match."""
    ids = [node_id(tree.tree_id, node.path) for node in tree.nodes]
    place = {node.number: index for index, node in enumerate(tree.nodes)}
    return [
        _node(tree, node, ids[index], None if node.number == 0 else ids[place[node.parent]])
        for index, node in enumerate(tree.nodes)
    ]


def node_id(tree_id: str, path: str) -> str:
    """Name of a node, the same in every run with equal seed and policy."""
    return f"{tree_id}:{path}"


def rewards_of(node: common_pb2.Node) -> list[Reward]:
    """A node's rewards in force."""
    return [Reward(r.scorer, r.version, r.value if r.HasField("value") else None, r.error) for r in node.rewards]


def check_lengths(tree_id: str, node: common_pb2.Node) -> None:
    """A record without a true logprob for every sampled token must not reach a trainer."""
    ids, logprobs = len(node.token_ids) if node.number else 0, len(node.logprobs)
    if ids != logprobs or ids % 4:
        detail = f"{ids / 4:g} tokens but {logprobs / 4:g} logprobs"
        raise BrokenInvariant("TreeWellFormed", f"node {node.number} of tree {tree_id} has {detail}")


def _node(tree: common_pb2.Tree, node: common_pb2.Node, name: str, parent: str | None) -> Node:
    check_lengths(tree.tree_id, node)
    return Node(
        node_id=name,
        tree_id=tree.tree_id,
        parent_id=parent,
        path=node.path,
        depth=node.depth,
        sibling_index=node.sibling_index,
        token_start=node.token_start,
        token_ids=int32s(node.token_ids),
        logprobs=float32s(node.logprobs),
        logprobs_mode=tree.logprobs_mode,
        entropies=float32s(node.entropies),
        weight_versions=[WeightSpan(span.version, span.tokens) for span in node.weight_versions],
        inserted_tokens=node.inserted_tokens,
        observation_tokens=node.observation_tokens,
        model=node.model if node.HasField("model") else tree.model,
        temperature=node.temperature if node.HasField("temperature") else tree.temperature,
        max_tokens=node.max_tokens if node.HasField("max_tokens") else None,
        top_p=tree.top_p,
        top_k=tree.top_k,
        text=node.text,
        branch_reason=node.branch_reason,
        decision=node.decision,
        group=node.group,
        select_prob=node.select_prob if node.HasField("select_prob") else None,
        status=node.status,
        stop_reason=node.stop_reason,
        replica_id=node.replica_id,
        incarnation=node.incarnation,
        attempt=node.attempt,
        cached_tokens=node.cached_tokens if node.HasField("cached_tokens") else None,
        recomputed_tokens=node.recomputed_tokens if node.HasField("recomputed_tokens") else None,
        dropped_tokens=node.dropped_tokens,
        started_at=node.started_at,
        finished_at=node.finished_at,
        rewards=rewards_of(node),
        value=node.value if node.HasField("value") else None,
        n_leaves=node.n_leaves,
        tin=node.tin,
        tout=node.tout,
    )
