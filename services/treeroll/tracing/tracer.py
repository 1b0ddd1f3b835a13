"""What a coordinator does for traces: it names spans on orders and deliveries, and hands on trees that have ended.

Nothing is traced while it happens: spans are made of the stored tree once it has ended, by a thread.
"""

import asyncio
import logging
from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from treeroll import clock
from treeroll.errors import StoreError
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.store.base import Lease, Store
from treeroll.tracing import names

if TYPE_CHECKING:
    from treeroll.tracing.recorder import Recorder
    from treeroll.tracing.spans import Delivered

log = logging.getLogger(__name__)

# Trees that are read at once; deliveries and submitters that are remembered. Beyond that the oldest are forgotten.
MOST_READS, MOST_OPEN, MOST_LINKS = 16, 10_000, 10_000
ALWAYS = frozenset({"failed", "partial"})

asked_by: ContextVar[str] = ContextVar("asked_by", default="")
"""The traceparent of the call that is served."""


def hear(context: Any) -> None:
    """Take the traceparent of a call that is served in this task, if it brings one."""
    metadata = context.invocation_metadata() or ()
    asked_by.set(next((str(value) for key, value in metadata if key == "traceparent"), ""))


@dataclass(frozen=True, slots=True)
class _Key:
    run_id: str
    group: str
    lease_id: str


class Tracer:
    """Of one coordinator. All methods are of its event loop, and none waits."""

    def __init__(self, ratio: float, recorder: "Recorder", store: Store) -> None:
        self._ratio = ratio
        self._recorder = recorder
        self._store = store
        self._submitters: OrderedDict[str, str] = OrderedDict()
        self._open: OrderedDict[_Key, Delivered] = OrderedDict()
        self._reads: set[asyncio.Task[None]] = set()

    def mark(self, order: wire.StartBranch) -> None:
        """Tell the replica of a traced tree's branch in which span it works."""
        if names.sampled(order.tree_id, self._ratio):
            span = names.branch_span(order.tree_id, order.branch, order.attempt)
            order.traceparent = names.traceparent(order.tree_id, span)

    def submitted(self, tree_ids: list[str]) -> None:
        """Tasks came with the call that is served."""
        if by := asked_by.get():
            self._submitters |= {tree_id: by for tree_id in tree_ids if names.sampled(tree_id, self._ratio)}
            while len(self._submitters) > MOST_LINKS:
                self._submitters.popitem(last=False)

    def ended(self, tree_id: str, status: str) -> None:
        """A tree is durable as it will stay, late rewards apart."""
        by = self._submitters.pop(tree_id, "")
        if not (names.sampled(tree_id, self._ratio) or status in ALWAYS):
            return
        if len(self._reads) >= MOST_READS:
            self._recorder.leave_out()
            return
        task = asyncio.create_task(self._read(tree_id, by), name="trace")
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    async def _read(self, tree_id: str, submitted_by: str) -> None:
        try:
            stored = await self._store.load_tree(tree_id)  # page by page
        except StoreError as error:
            log.warning("tree %s has no trace: %s", tree_id, error)
            return
        if stored is not None:
            self._recorder.put((stored, submitted_by))

    def lent(self, run_id: str, group: str, lease: Lease) -> str:
        """A tree goes to who makes the call that is served: what the delivery says of its span, "" if the tree is not
        traced. `lease` has the store's own id."""
        if not names.sampled(lease.tree_id, self._ratio):
            return ""
        from treeroll.tracing.spans import Delivered

        now, times = clock.wall(), lease.times_delivered
        self._open[_Key(run_id, group, lease.lease_id)] = Delivered(
            lease.tree_id, run_id, group, times, now, now, "lost", asked_by.get()
        )
        while len(self._open) > MOST_OPEN:
            self._close(next(iter(self._open)), "lost")
        return names.traceparent(lease.tree_id, names.delivery_span(lease.tree_id, group, times))

    def given_back(self, run_id: str, group: str, lease_ids: list[str], lost: list[str], outcome: str) -> None:
        """Leases ended, those in `lost` before this."""
        if not self._open:
            return
        for lease_id in lease_ids:
            self._close(_Key(run_id, group, lease_id), "lost" if lease_id in lost else outcome)

    def _close(self, key: _Key, outcome: str) -> None:
        if (delivered := self._open.pop(key, None)) is not None:
            self._recorder.put(replace(delivered, ended=clock.wall(), outcome=outcome))
