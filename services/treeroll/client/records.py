"""What a trainer reads: trees, nodes, samples, deliveries. Pure: protobuf messages in, numpy columns out.

`Node` and `Sample` are in the table of fields; import all records from here.
"""

import json
from dataclasses import dataclass
from typing import Any

from treeroll.client.node import nodes_of
from treeroll.client.sample import samples_of
from treeroll.pb.v1 import common_pb2, rollout_pb2
from treeroll.records.assemble import complete
from treeroll.records.fields import SCHEMA_VERSION, TREE_COLUMNS, Node, Reward, Sample, TreeRow, WeightSpan
from treeroll.records.why import why_of
from treeroll.why import Why

__all__ = [
    "SCHEMA_VERSION",
    "Delivery",
    "Ledger",
    "Node",
    "Reward",
    "Sample",
    "TreeRecord",
    "TreeRow",
    "WeightSpan",
    "nodes_of",
    "samples_of",
]


@dataclass(slots=True)
class Ledger:
    """A token account: granted = spent + returned + outstanding."""

    granted: int
    spent: int
    returned: int
    outstanding: int
    excess: int = 0
    """Tokens that engines decoded beyond what was reserved; they are a part of what is granted."""

    @classmethod
    def from_proto(cls, ledger: common_pb2.Ledger) -> "Ledger":
        """Read it from the wire."""
        return cls(ledger.granted, ledger.spent, ledger.returned, ledger.outstanding, ledger.excess)


@dataclass(slots=True)
class TreeRecord:
    """Everything grown from one task."""

    tree_id: str
    run_id: str
    task_id: str
    epoch: int
    prompt_text: str
    status: str
    """"complete", "partial", "failed", "filtered", or what a tree that is still growing is called."""
    stop_reason: str
    """Why branches were cut: "cancelled", "deadline", "budget", "lost" or "stale"; "" if it ended by itself."""
    error: str
    """One sentence when the tree is partial or failed."""
    nodes: list[Node]
    """Root first, parents before children."""
    samples: list[Sample]
    """One per complete leaf, in path order."""
    n_scored: int
    n_censored: int
    most_leaves: int
    """Complete leaves that its growth would have made at most."""
    wall_s: float
    """Seconds from its start to its end, scoring included; 0 for one that never started."""
    ledger: Ledger
    lost_tokens_max: int
    """Upper bound on tokens that lost replicas generated and never reported."""
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    min_tokens: int
    stop: list[str]
    stop_token_ids: list[int]
    """The run's own, beside the model's end of sequence."""
    logprobs_mode: str
    tokenizer_hash: str
    allotted_leaves: int
    """Leaves that the run's allocator gave the task; 0: as many as the run asks for."""
    allotted_by: Why | None
    """Why it gave so many, if it says so."""
    model: str
    """Which of the service's models grew it; "" if there is only one, without a name."""
    answer: str | None
    extra: dict[str, Any]

    @classmethod
    def from_proto(cls, tree: common_pb2.Tree, samples: list[Sample] | None = None) -> "TreeRecord":
        """Read it from the wire; a tree as it is stored is completed first. `samples` are made of it unless given.

        BrokenInvariant for a tree that contradicts itself.
        """
        if samples is None:
            samples = samples_of(tree)
        if tree.nodes and not tree.nodes[0].tout:
            stored, tree = tree, common_pb2.Tree()
            tree.CopyFrom(stored)  # the samples go on reading the one they were made from
            complete(tree)
        return cls(
            tree_id=tree.tree_id,
            run_id=tree.run_id,
            task_id=tree.task_id,
            epoch=tree.epoch,
            prompt_text=tree.prompt_text,
            status=tree.status,
            stop_reason=tree.stop_reason,
            error=tree.error,
            nodes=nodes_of(tree),
            samples=samples,
            n_scored=tree.n_scored,
            n_censored=tree.n_censored,
            most_leaves=tree.most_leaves,
            wall_s=tree.wall_s,
            ledger=Ledger.from_proto(tree.ledger),
            lost_tokens_max=tree.lost_tokens_max,
            temperature=tree.temperature,
            top_p=tree.top_p,
            top_k=tree.top_k,
            min_p=tree.min_p,
            repetition_penalty=tree.repetition_penalty,
            min_tokens=tree.min_tokens,
            stop=list(tree.stop),
            stop_token_ids=list(tree.stop_token_ids),
            logprobs_mode=tree.logprobs_mode,
            tokenizer_hash=tree.tokenizer_hash,
            allotted_leaves=tree.allotted_leaves,
            allotted_by=why_of(tree.allotted_by) if tree.HasField("allotted_by") else None,
            model=tree.model,
            answer=tree.answer if tree.HasField("answer") else None,
            extra=json.loads(tree.extra_json) if tree.extra_json else {},
        )

    def row(self) -> TreeRow:
        """What became of the tree, without its nodes and samples."""
        made: dict[str, Any] = {
            "n_leaves": len(self.samples),
            "wasted_tokens": self.ledger.spent - self.sampled_tokens(),
            "replicas": sorted({node.replica_id for node in self.nodes if node.replica_id}),
        }
        for column in TREE_COLUMNS:
            if column.name not in made:
                made[column.name] = getattr(self.ledger if column.message == "Ledger" else self, column.name)
        return TreeRow(**made)

    def sampled_tokens(self) -> int:
        """Generated tokens that lie on the path of a sample, each counted once."""
        kept = [node for node in self.nodes if node.parent_id is not None and node.n_leaves]
        return sum(len(node.token_ids) - node.inserted_tokens - node.observation_tokens for node in kept)


def tree_id_of(delivery: rollout_pb2.Delivery) -> str:
    """The tree's id, however it came."""
    return delivery.tree_id or delivery.tree.tree_id


def samples_in(delivery: rollout_pb2.Delivery) -> int:
    """How many samples the tree has; 0 marks a task that ended without one."""
    return delivery.samples or len(delivery.tree.leaves)


@dataclass(slots=True)
class Delivery:
    """How a tree came to this consumer."""

    tree_id: str
    lease_id: str
    """Right to acknowledge the tree."""
    deadline: float
    """When the lease ends unless renewed, seconds since the epoch on the service's clock; as of delivery."""
    delivery_seq: int
    """Order in the run's feed: 1, 2, 3 ..."""
    times_delivered: int
    """1 for the first delivery to the group."""
    traceparent: str = ""
    """W3C trace context of the delivery, for spans of what is done with the tree; "" unless the service traces it."""

    @classmethod
    def from_proto(cls, delivery: rollout_pb2.Delivery) -> "Delivery":
        """Read it from the wire."""
        return cls(
            tree_id=tree_id_of(delivery),
            lease_id=delivery.lease_id,
            deadline=delivery.deadline,
            delivery_seq=delivery.delivery_seq,
            times_delivered=delivery.times_delivered,
            traceparent=delivery.traceparent,
        )
