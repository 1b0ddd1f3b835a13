"""What a trainer imports. Needs neither vllm nor torch nor ray; torch is imported by `Batch.to_torch` alone."""

from treeroll.client.async_client import AsyncClient, connect_async
from treeroll.client.async_run import AsyncBatches, AsyncRun, RewardCounts
from treeroll.client.batch import AsyncBatch, Batch, Failure
from treeroll.client.client import Client, connect
from treeroll.client.records import Delivery, Ledger, Node, Reward, Sample, TreeRecord, WeightSpan
from treeroll.client.run import Batches, Run
from treeroll.client.selection import LeafSelection, select_leaves
from treeroll.client.status import AuditReport, ReplicaStatus, RunStatus, ServiceStatus, Violation

__all__ = [
    "AsyncBatch",
    "AsyncBatches",
    "AsyncClient",
    "AsyncRun",
    "AuditReport",
    "Batch",
    "Batches",
    "Client",
    "Delivery",
    "Failure",
    "LeafSelection",
    "Ledger",
    "Node",
    "ReplicaStatus",
    "Reward",
    "RewardCounts",
    "Run",
    "RunStatus",
    "Sample",
    "ServiceStatus",
    "TreeRecord",
    "Violation",
    "WeightSpan",
    "connect",
    "connect_async",
    "select_leaves",
]
