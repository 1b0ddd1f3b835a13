"""What a trainer imports. Needs neither vllm nor torch nor ray; torch is imported by `Batch.to_torch` alone."""

from treeroll.client.async_client import AsyncClient, connect_async
from treeroll.client.async_run import AsyncBatches, AsyncRun
from treeroll.client.batch import AsyncBatch, Batch, Failure
from treeroll.client.client import Client, connect
from treeroll.client.clipping import ClipRange
from treeroll.client.credit import RewardCounts
from treeroll.client.detached import DetachedBatch
from treeroll.client.edges import edge_samples
from treeroll.client.factors import TokenFactor
from treeroll.client.packed import PackedRow
from treeroll.client.publication import PublishedWeights, ReplicaWeights, WeightsStatus
from treeroll.client.records import Delivery, Ledger, Node, Reward, Sample, TreeRecord, WeightSpan
from treeroll.client.run import Batches, Run
from treeroll.client.schedule import TokenSchedule
from treeroll.client.selection import LeafSelection, select_leaves
from treeroll.client.status import AuditReport, ReplicaStatus, RunStatus, ServiceStatus, Violation
from treeroll.client.tokenizer import TokenizerFacts

__all__ = [
    "AsyncBatch",
    "AsyncBatches",
    "AsyncClient",
    "AsyncRun",
    "AuditReport",
    "Batch",
    "Batches",
    "Client",
    "ClipRange",
    "Delivery",
    "DetachedBatch",
    "Failure",
    "LeafSelection",
    "Ledger",
    "Node",
    "PackedRow",
    "PublishedWeights",
    "ReplicaStatus",
    "ReplicaWeights",
    "Reward",
    "RewardCounts",
    "Run",
    "RunStatus",
    "Sample",
    "ServiceStatus",
    "TokenFactor",
    "TokenSchedule",
    "TokenizerFacts",
    "TreeRecord",
    "Violation",
    "WeightSpan",
    "WeightsStatus",
    "connect",
    "connect_async",
    "edge_samples",
    "select_leaves",
]
