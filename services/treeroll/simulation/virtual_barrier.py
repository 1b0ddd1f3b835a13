"""Lockstep in virtual time, as TreePO publishes it: a replica's batch of trees advances segment by segment.

Each segment is a new request. All paths of the batch are handed to the engine together; when the last of them has
ended its segment, every tree decides and the next step begins. Batches come from one pool, so no replica waits for
another.
"""

from collections import deque
from collections.abc import Callable

from treeroll.core.model.events import EndKind
from treeroll.core.model.run import TaskSpec
from treeroll.simulation.event_queue import EventQueue
from treeroll.simulation.virtual_coordinator import Latency
from treeroll.simulation.virtual_core import Report, VirtualCore
from treeroll.simulation.virtual_kv import Span
from treeroll.simulation.virtual_replica import Request, VirtualReplica

# More than any batch has paths: the engine queues what does not fit.
NO_LIMIT = 1 << 20


class VirtualBarrier:
    """The driver of one replica."""

    def __init__(
        self, core: VirtualCore, latency: Latency, queue: EventQueue, pool: deque[TaskSpec], batch: int, refill: bool,
        ticked: Callable[[float], None],
    ) -> None:  # fmt: skip
        """`refill`: a finished tree's place is taken at the next barrier, not when the whole batch has ended."""
        self.replica: VirtualReplica | None = None
        self._core = core
        self._latency = latency
        self._queue = queue
        self._pool = pool
        self._batch = batch
        self._refill = refill
        self._ticked = ticked
        self._reports: list[Report] = []

    def report(
        self, now: float, request: Request, span: Span | None, cached: int | None, end: EndKind | None, dropped: int
    ) -> None:
        """See Reports."""
        self._reports.append((now, request, span, cached, end, dropped))

    def idle(self, now: float) -> None:
        """The replica has nothing left to do: this is the barrier."""
        took_s = self._latency.round_trip_s + self._latency.segment_s * len(self._reports)
        self._queue.at(now + took_s, self._step)

    def _step(self, now: float) -> None:
        reports, self._reports = self._reports, []
        orders = self._core.tick(now, reports)
        live = self._core.live
        if self._pool and (not live or (self._refill and live < self._batch)):
            fresh = [self._pool.popleft() for _ in range(min(self._batch - live, len(self._pool)))]
            self._core.submit(fresh)
            orders.starts += self._core.tick(now, []).starts
        self._ticked(now)
        if self.replica is not None:
            for request in orders.starts:
                self.replica.start(now, request)
