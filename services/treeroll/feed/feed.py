"""Hands finished trees to consumer groups. Holds no state: cursors, leases and acknowledgements are the store's.

DeliveredOnceAcked: every finished tree reaches every group at least once, and never again after its acknowledgement.
"""

import asyncio
from collections.abc import Callable

from treeroll import clock
from treeroll.core.model.run import DeliveryTerms, Outlook
from treeroll.errors import Drained, UnknownRun
from treeroll.feed.freshness import Freshness
from treeroll.feed.reply import Reply
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.base import Lease, Store

# Trees in one reply stop at about this many bytes, well under the message limit.
REPLY_BYTES = 16 << 20
# How often a waiting consumer looks for expired leases of others.
RECHECK_S = 0.5


class Feed:
    """Leases over one store."""

    def __init__(self, store: Store, outlook: Callable[[str], Outlook], terms: Callable[[str], DeliveryTerms]) -> None:
        """`outlook` says of a run what may still come, `terms` what its trees are judged by."""
        self.freshness = Freshness(terms)
        self._store = store
        self._outlook = outlook
        self._news: dict[str, asyncio.Event] = {}
        self.on_withheld: Callable[[str, list[str]], None] = lambda run_id, tree_ids: None
        """Hears of trees of a run that were delivered without their samples, because they are too old."""

    def notify(self, run_id: str) -> None:
        """A tree of the run ended, or the run changed state: wake its waiting consumers."""
        event = self._news.pop(run_id, None)
        if event is not None:
            event.set()

    def news(self, run_id: str) -> asyncio.Event:
        """Is set by the next `notify` of the run."""
        return self._news.setdefault(run_id, asyncio.Event())

    async def lease(self, request: api.LeaseTreesRequest) -> bytes:
        """Lease up to max_trees; waits up to wait_s for the first. Returns a serialised LeaseTreesReply.

        Drained if the group has all that the run will have before a drain is taken back.
        """
        deadline = clock.monotonic() + request.wait_s
        while True:
            outlook = self._outlook(
                request.run_id
            )  # UnknownRun for one that was deleted meanwhile: a lease would begin it anew
            news = self.news(request.run_id)
            leases = await self._store.lease(
                request.run_id, request.group, request.consumer, request.max_trees, request.lease_s
            )
            if leases:
                return await self._reply(request, leases)
            if await self._exhausted(request.run_id, request.group):
                return api.LeaseTreesReply(exhausted=True).SerializeToString()
            left = deadline - clock.monotonic()
            if left <= 0 or outlook.stuck:
                return b""
            try:
                async with asyncio.timeout(min(left, RECHECK_S)):
                    await news.wait()
            except TimeoutError:
                continue

    async def _reply(self, request: api.LeaseTreesRequest, leases: list[Lease]) -> bytes:
        try:
            return await self._deliver(request, leases)
        except BaseException:  # also a caller that went away: its trees must not wait for their leases to end
            ids = [lease.lease_id for lease in leases]
            await asyncio.shield(self._store.release(request.run_id, request.group, ids))
            raise

    async def _deliver(self, request: api.LeaseTreesRequest, leases: list[Lease]) -> bytes:
        stored = await self._store.load_trees([lease.tree_id for lease in leases])
        trees = []
        for lease, tree in zip(leases, stored, strict=True):
            if tree is None:
                raise UnknownRun(f"tree {lease.tree_id} of run '{request.run_id}' is gone from the store")
            trees.append(tree)
        reply, deadline = Reply(stored=request.stored), clock.wall() + request.lease_s
        judged = await self.freshness.judge(request.run_id, trees)
        if withheld := [lease.tree_id for lease, one in zip(leases, judged, strict=True) if one.withheld]:
            self.on_withheld(request.run_id, withheld)
        for lease, delivered in zip(leases, judged, strict=True):
            if reply.size > REPLY_BYTES:
                await self._store.release(request.run_id, request.group, [lease.lease_id])
                continue
            reply.add(lease, deadline, delivered)
            self.freshness.count(request.run_id, delivered, first=lease.times_delivered == 1)
        return reply.serialised()

    async def _exhausted(self, run_id: str, group: str) -> bool:
        outlook = self._outlook(run_id)
        if outlook.total is None and not outlook.drained:
            return False
        # Counted in the store: a tree that ended a moment ago may not be durable, and so not in the feed, yet.
        acknowledged = (await self._store.group_state(run_id, group)).acknowledged
        if outlook.drained and acknowledged == outlook.ended:
            raise Drained(
                f"the service drains: {outlook.waiting} tasks of run '{run_id}' wait and are not grown; "
                "`treeroll undrain` has them grown, or submit them to another service"
            )
        return acknowledged == outlook.total
