"""Hands finished trees to consumer groups. Cursors, leases and acknowledgements are the store's, not its own.

DeliveredOnceAcked: every finished tree reaches every group at least once, and never again after its acknowledgement,
unless the group is moved to a saved state that does not have it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from treeroll import clock
from treeroll.core.model.run import DeliveryTerms, Outlook
from treeroll.errors import UnknownRun
from treeroll.failpoints import reach
from treeroll.feed import position
from treeroll.feed.batches import GlobalBatches
from treeroll.feed.dead_letters import dead_letter, why_too_large, why_unreadable
from treeroll.feed.freshness import Freshness
from treeroll.feed.repeats import Repeats
from treeroll.feed.reply import REPLY_BYTES, Reply
from treeroll.feed.seals import Seals
from treeroll.feed.waiting import Crowds, News, drained
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.base import GroupPosition, Lease, Store, StoredTree
from treeroll.tracing.tracer import Tracer

NO_MORE_TREES = api.LeaseTreesReply(exhausted=True).SerializeToString()


class Feed:
    """Leases over one store."""

    def __init__(
        self,
        store: Store,
        outlook: Callable[[str], Outlook],
        terms: Callable[[str], DeliveryTerms],
        epoch: int,
        seals: Seals | None = None,
    ) -> None:
        """`outlook` says of a run what may still come, `terms` what its trees are judged by. `epoch` is the owner's."""
        self.seals = seals or Seals()
        self.freshness = Freshness(terms)
        self.epoch = epoch
        self._store = store
        self._repeats = Repeats(store)
        self._outlook = outlook
        self._news = News()
        self._crowds = Crowds()
        self.on_withheld: Callable[[str, list[str]], None] = lambda run_id, tree_ids: None
        """Hears of trees of a run that were delivered without their samples, because they are too old."""
        self.tracer: Tracer | None = None
        """Names the spans of deliveries; None: nothing is traced."""
        self.batches = GlobalBatches(store, outlook, self.freshness, self._news, self._withheld, epoch)

    def notify(self, run_id: str) -> None:
        """A tree of the run ended, or the run changed state: wake its waiting consumers."""
        self._news.notify(run_id)

    async def open_group(self, request: api.OpenGroupRequest, run_created: float) -> api.GroupPosition:
        """Where a group stands; made on first use. InvalidInput if it would begin with trees that have expired."""
        found = await self._store.open_group(request.run_id, request.group, latest=request.latest)
        return self._message(request.run_id, found, run_created)

    async def seek(self, request: api.SeekGroupRequest, run_created: float) -> api.GroupPosition:
        """Move a group to a saved state. InvalidInput says why a state cannot be taken."""
        move = position.move_of(request, run_created)
        found = await self._store.move_group(request.run_id, request.group, move)
        self.notify(request.run_id)
        return self._message(request.run_id, found, run_created)

    def _message(self, run_id: str, found: GroupPosition, run_created: float) -> api.GroupPosition:
        position.check_known(run_id, max((last for _, last in found.acknowledged), default=0), self._outlook(run_id))
        return position.message(found, run_created, self.epoch)

    def _withheld(self, run_id: str, tree_ids: list[str]) -> None:
        if tree_ids:
            self.on_withheld(run_id, tree_ids)

    def news(self, run_id: str) -> asyncio.Event:
        """Is set by the next `notify` of the run."""
        return self._news.of(run_id)

    async def wait(self, news: asyncio.Event, deadline: float) -> bool:
        """Wait for news, a while, or until the deadline on the monotonic clock; whether there is time left."""
        return await self._news.wait(news, deadline)

    async def lease(self, request: api.LeaseTreesRequest) -> bytes:
        """Lease up to max_trees; waits up to wait_s for the first. Returns a serialised LeaseTreesReply.

        Drained if the group has all that the run will have before a drain is taken back.
        """
        deadline = clock.monotonic() + request.wait_s
        # Those of one group have the same to wait for, unless a move has come between them or one holds trees itself.
        epoch = request.group_epoch if request.HasField("group_epoch") else None
        with self._crowds.joined((request.run_id, request.group, epoch, request.holds)) as crowd:
            # UnknownRun for one that was deleted meanwhile: a lease would begin it anew.
            outlook, news = self._outlook(request.run_id), self.news(request.run_id)
            found = await self._look(request)
            while found is None:
                if outlook.stuck or not await self._news.wait(news, deadline, crowd.recheck_s):
                    return b""
                outlook, news = self._outlook(request.run_id), self.news(request.run_id)
                found = await crowd.look(news, partial(self._look, request))
        if not found:
            return NO_MORE_TREES
        reach("feed.lent")
        return await self._reply(request, found)

    async def _look(self, request: api.LeaseTreesRequest) -> list[Lease] | None:
        """Leases, none if the group has everything; None if there is nothing yet."""
        leases = await self._repeats.lend(request)
        return leases if leases or await self._exhausted(request) else None

    async def _reply(self, request: api.LeaseTreesRequest, leases: list[Lease]) -> bytes:
        try:
            return await self._deliver(request, leases)
        except BaseException:  # also a caller that went away: its trees must not wait for their leases to end
            ids = [lease.lease_id for lease in leases]
            await asyncio.shield(self._store.release(request.run_id, request.group, ids))
            raise

    async def _deliver(self, request: api.LeaseTreesRequest, leases: list[Lease]) -> bytes:
        position.check_known(request.run_id, max(lease.seq for lease in leases), self._outlook(request.run_id))
        stored = await self._store.load_trees([lease.tree_id for lease in leases])
        trees = []
        for lease, tree in zip(leases, stored, strict=True):
            if tree is None:
                raise UnknownRun(f"tree {lease.tree_id} of run '{request.run_id}' is gone from the store")
            trees.append(await _deliverable(lease, tree))
        reply, deadline = Reply(stored=request.stored, epoch=self.epoch), clock.wall() + request.lease_s
        judged = await self.freshness.judge(request.run_id, trees)
        self._withheld(
            request.run_id, [lease.tree_id for lease, one in zip(leases, judged, strict=True) if one.withheld]
        )
        for lease, delivered in zip(leases, judged, strict=True):
            if reply.size > REPLY_BYTES:
                await self._store.release(request.run_id, request.group, [lease.lease_id])
                continue
            sealed = self.seals.sealed(request.run_id, request.group, lease.lease_id)
            traceparent = ""
            if self.tracer is not None:
                traceparent = self.tracer.lent(request.run_id, request.group, lease)
            reply.add(replace(lease, lease_id=sealed), deadline, delivered, traceparent)
            self.freshness.count(request.run_id, delivered, first=lease.times_delivered == 1)
        return reply.serialised()

    async def _exhausted(self, request: api.LeaseTreesRequest) -> bool:
        run_id = request.run_id
        outlook = self._outlook(run_id)
        if outlook.total is None and not outlook.drained:
            return False
        # Counted in the store: a tree that ended a moment ago may not be durable, and so not in the feed, yet.
        state = await self._store.group_state(run_id, request.group)
        done = state.acknowledged + (state.leased if request.holds else 0)
        if outlook.drained and done == outlook.ended:
            raise drained(run_id, outlook)
        return done == outlook.total


async def _deliverable(lease: Lease, tree: StoredTree) -> StoredTree:
    """The tree, or what goes in its place if it cannot be delivered."""
    why = why_too_large(tree)
    if not why and lease.times_delivered > 1:
        why = await asyncio.to_thread(why_unreadable, tree)
    return dead_letter(lease.tree_id, tree, why) if why else tree
