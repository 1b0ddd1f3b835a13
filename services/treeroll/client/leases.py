"""Leases of one consumer: renewed in the background until they are acknowledged or given back."""

import asyncio
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence

from treeroll.client.channel import Channel
from treeroll.client.progress import GroupProgress
from treeroll.client.records import tree_id_of
from treeroll.errors import CallerError, Drained, GroupMoved, TreerollError
from treeroll.pb.v1 import rollout_pb2

log = logging.getLogger(__name__)

# Renewals per lease period: two may fail before a lease runs out.
RENEWALS = 3
# Longest time spent on giving leases back when the service does not answer; they run out by themselves then.
RELEASE_S = 2.0


class Leases:
    """What one consumer of a group holds. All methods run on the channel's event loop."""

    def __init__(
        self,
        channel: Channel,
        progress: GroupProgress,
        consumer: str,
        lease_s: float,
        *,
        holds: bool = False,
        shared: bool = False,
    ) -> None:
        """`holds`: the consumer acknowledges at times of its own, and may be left with the last trees. `shared`: others
        acknowledge its leases, too, so that one that is gone is no news."""
        self._channel = channel
        self.progress = progress
        self._run_id = progress.run_id
        self._group = progress.group
        self._holds = holds
        self._shared = shared
        self._consumer = consumer
        self._lease_s = lease_s
        self._held: dict[str, str] = {}  # lease id -> tree id
        # Requests for trees whose answer has not come, and may never: what they leased is not known here.
        self._unanswered = 0
        self._settling: set[str] = set()  # being acknowledged
        self._renewal: asyncio.Task[None] | None = None

    async def take(self, count: int, wait_s: float, batch_trees: int = 0) -> rollout_pb2.LeaseTreesReply:
        """Lease up to `count` trees, waiting up to wait_s for the first one.

        `batch_trees`: those that are gathered before any is acknowledged. InvalidInput if the run cannot have so many.
        """
        request = rollout_pb2.LeaseTreesRequest(
            run_id=self._run_id,
            group=self._group,
            consumer=self._consumer,
            max_trees=count,
            lease_s=self._lease_s,
            wait_s=wait_s,
            stored=True,
            batch_trees=batch_trees,
            group_epoch=self.progress.epoch,
            holds=self._holds,
            request_id=uuid.uuid4().hex,
        )
        self._unanswered += 1
        try:
            reply = await self._channel.call("LeaseTrees", request, rollout_pb2.LeaseTreesReply, extra_s=wait_s)
        except (CallerError, Drained):  # an answer, too
            self._unanswered -= 1
            raise
        self._unanswered -= 1
        self._held.update((delivery.lease_id, tree_id_of(delivery)) for delivery in reply.deliveries)
        if self.progress.is_older(reply.deliveries):
            where = rollout_pb2.OpenGroupRequest(run_id=self._run_id, group=self._group)
            self.progress.hear(await self._channel.call("OpenGroup", where, rollout_pb2.GroupPosition))
        if self._held and self._renewal is None:
            self._renewal = asyncio.create_task(self._renew(), name="treeroll lease renewal")
        return reply

    async def ack(self, leases: Mapping[str, str]) -> list[str]:
        """Finish leases (lease id -> tree id). Returns the trees whose lease moved on; all others are acknowledged."""
        mine = [lease for lease in leases if lease in self._held]
        moved = {lease for lease in leases if lease not in self._held}
        if mine:
            self._settling.update(mine)
            try:
                request = rollout_pb2.AckTreesRequest(run_id=self._run_id, group=self._group, lease_ids=mine)
                reply = await self._channel.call("AckTrees", request, rollout_pb2.LeasesReply)
            finally:
                self._settling.difference_update(mine)
            self._forget(mine)
            moved.update(reply.lost)
        return [tree_id for lease, tree_id in leases.items() if lease in moved]

    def drop(self) -> None:
        """Hold nothing any more, without telling the service, which has moved the group."""
        self._held.clear()

    async def release(self, lease_ids: Iterable[str]) -> None:
        """Give leases back at once. Never raises: a lease that cannot be given back runs out by itself."""
        ids = [lease for lease in lease_ids if lease in self._held]
        if ids:
            await self._release(ids, "")

    async def leave(self, lease_s: float) -> None:
        """Hold what is held for so many seconds more, and renew it no more: somebody else acknowledges it."""
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        if self._held:
            request = rollout_pb2.RenewLeasesRequest(
                run_id=self._run_id, group=self._group, lease_ids=list(self._held), lease_s=lease_s
            )
            await self._channel.call("RenewLeases", request, rollout_pb2.LeasesReply)
        self._held.clear()

    async def close(self) -> None:
        """Give back everything, also what may have been leased unheard, and stop renewing."""
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        if self._held or self._unanswered:
            await self._release(list(self._held), self._consumer if self._unanswered else "")

    async def _release(self, ids: Sequence[str], consumer: str) -> None:
        self._forget(ids)
        request = rollout_pb2.ReleaseTreesRequest(
            run_id=self._run_id, group=self._group, lease_ids=ids, consumer=consumer
        )
        try:
            await self._channel.call("ReleaseTrees", request, rollout_pb2.LeasesReply, within_s=RELEASE_S)
        except TreerollError as error:
            log.warning("trees were not given back and come again when their leases end: %s", error)

    def _forget(self, lease_ids: Iterable[str]) -> None:
        for lease in lease_ids:
            self._held.pop(lease, None)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / RENEWALS)
            if not self._held:
                continue
            request = rollout_pb2.RenewLeasesRequest(
                run_id=self._run_id, group=self._group, lease_ids=list(self._held), lease_s=self._lease_s
            )
            try:
                within_s = max(self._lease_s / RENEWALS, 1.0)
                reply = await self._channel.call("RenewLeases", request, rollout_pb2.LeasesReply, within_s=within_s)
            except GroupMoved as error:
                log.warning("%s", error)
                self.drop()
                continue
            except TreerollError as error:
                log.warning("leases of %d trees were not renewed, trying again: %s", len(self._held), error)
                continue
            # A lease that is being acknowledged just now may be gone already, rightly.
            moved = [lease for lease in reply.lost if lease in self._held and lease not in self._settling]
            if moved and not self._shared:
                log.warning("the leases of trees %s moved on", ", ".join(self._held[lease] for lease in moved))
            self._forget(moved)
