"""The part of the Rollouts server that trainers take trees from: leases, batches of ranks, and groups of consumers."""

from abc import abstractmethod
from typing import Any

from treeroll.coordinator.calls import Calls, typed
from treeroll.coordinator.delivery import Pacing
from treeroll.coordinator.delivery_requests import (
    check_batch,
    check_collect,
    check_group,
    check_lease,
    check_lease_s,
    check_rank,
)
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.retention import Retention
from treeroll.core.model.run import Run
from treeroll.failpoints import reach
from treeroll.feed.batches import NO_MORE_BATCHES
from treeroll.feed.collect import Collector
from treeroll.feed.feed import NO_MORE_TREES, Feed
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.tracing.tracer import hear

LeasesRequest = api.RenewLeasesRequest | api.AckTreesRequest | api.ReleaseTreesRequest


class DeliveryCalls(Calls):
    """Hands out trees, and hears what becomes of them."""

    def __init__(self, coordinator: Coordinator, feed: Feed, collector: Collector, retention: Retention) -> None:
        super().__init__(coordinator)
        self._feed = feed
        self._collector = collector
        self._retention = retention
        self._pacing = Pacing(coordinator)
        feed.on_withheld = self._pacing.withheld

    @abstractmethod
    def _consumed(self, run_id: str) -> Run:
        """A run that somebody wants the trees of, and may have them. UnknownRun, NotAllowed."""
        ...

    async def _created(self, run_id: str) -> float:
        """When a run was created, as states of its groups name it: told of a durable run alone, and by the store's
        owner. Another one may know a run of that name which never was durable, or has been another since."""
        self._consumed(run_id)
        await self._coordinator.confirm()
        return self._consumed(run_id).created

    async def _settled(self, reply: bytes) -> bytes:
        """A reply of the feed. That nothing more will come is told by the store's owner alone: a run of that name may
        have other tasks there."""
        if reply in (NO_MORE_TREES, NO_MORE_BATCHES):
            await self._coordinator.confirm()
        return reply

    @typed
    async def LeaseTrees(self, request: api.LeaseTreesRequest, context: Any) -> bytes:
        self._consumed(request.run_id)
        check_lease(request)
        if self._coordinator.tracer is not None:
            hear(context)
        await self._pacing.heard(request.run_id, request.group, request.batch_trees)
        return await self._settled(await self._feed.lease(request))

    @typed
    async def CollectTrees(self, request: api.CollectTreesRequest, context: Any) -> bytes:
        self._consumed(request.run_id)
        check_collect(request)
        return await self._collector.collect(request)

    @typed
    async def OpenGroup(self, request: api.OpenGroupRequest, context: Any) -> api.GroupPosition:
        created = await self._created(request.run_id)
        check_group(request.group)
        return await self._feed.open_group(request, created)

    @typed
    async def SeekGroup(self, request: api.SeekGroupRequest, context: Any) -> api.GroupPosition:
        self._consumed(request.run_id)
        check_group(request.group)
        async with self._retention.turn:
            created = await self._created(request.run_id)
            position = await self._feed.seek(request, created)
            self._retention.start_again(request.run_id)
        await self._pacing.heard(request.run_id, request.group)
        return position

    @typed
    async def LeaseBatch(self, request: api.LeaseBatchRequest, context: Any) -> bytes:
        run = self._consumed(request.run_id)
        check_batch(request)
        await self._pacing.heard(request.run_id, request.group, 0 if request.short else request.trees)
        return await self._settled(await self._feed.batches.lease(request, run.created))

    @typed
    async def AckBatch(self, request: api.AckBatchRequest, context: Any) -> api.AckBatchReply:
        self._consumed(request.run_id)
        check_rank(request.rank, request.world)
        acknowledged = await self._feed.batches.ack(request)
        await self._pacing.heard(request.run_id, request.group)
        return api.AckBatchReply(acknowledged=acknowledged)

    def _given(self, request: LeasesRequest) -> tuple[dict[str, str], list[str]]:
        """The store's lease ids that the caller was given, with what it calls them; and those that it never was."""
        opened = self._feed.seals.opened(request.run_id, request.group, request.lease_ids)
        unknown = [text for text in request.lease_ids if text not in opened]
        return {lease_id: text for text, lease_id in opened.items()}, unknown

    @typed
    async def RenewLeases(self, request: api.RenewLeasesRequest, context: Any) -> api.LeasesReply:
        self._consumed(request.run_id)
        check_lease_s(request.lease_s)
        given, unknown = self._given(request)
        lost = await self._coordinator.store.renew(request.run_id, request.group, list(given), request.lease_s)
        await self._pacing.heard(request.run_id, request.group)
        return api.LeasesReply(lost=[*(given[lease_id] for lease_id in lost), *unknown])

    @typed
    async def AckTrees(self, request: api.AckTreesRequest, context: Any) -> api.LeasesReply:
        self._consumed(request.run_id)
        given, unknown = self._given(request)
        lost = await self._coordinator.store.ack(request.run_id, request.group, list(given))
        reach("feed.acknowledged")
        if (tracer := self._coordinator.tracer) is not None:
            tracer.given_back(request.run_id, request.group, list(given), lost, "acknowledged")
        await self._pacing.heard(request.run_id, request.group)
        self._feed.notify(request.run_id)
        return api.LeasesReply(lost=[*(given[lease_id] for lease_id in lost), *unknown])

    @typed
    async def ReleaseTrees(self, request: api.ReleaseTreesRequest, context: Any) -> api.LeasesReply:
        self._consumed(request.run_id)
        store = self._coordinator.store
        given, unknown = self._given(request)
        lost = await store.release(request.run_id, request.group, list(given))
        if (tracer := self._coordinator.tracer) is not None:
            tracer.given_back(request.run_id, request.group, list(given), lost, "released")
        if request.consumer:
            await store.release_all(request.run_id, request.group, request.consumer)
        self._feed.notify(request.run_id)
        return api.LeasesReply(lost=[*(given[lease_id] for lease_id in lost), *unknown])
