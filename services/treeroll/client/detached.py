"""DetachedBatch: a batch that travels between processes, and is acknowledged from any of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from treeroll import ranges
from treeroll.client.batch import BatchData
from treeroll.client.channel import Channel
from treeroll.client.credit import RewardReports
from treeroll.client.leased_trees import moved_on
from treeroll.client.progress import Origin, last_of_each
from treeroll.client.records import tree_id_of
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import rollout_pb2
from treeroll.ranges import Range

if TYPE_CHECKING:
    from treeroll.client.collect import CollectedTrees
    from treeroll.client.stream import Held


class DetachedTrees:
    """The trees of a detached batch: what it takes to acknowledge them is in their deliveries."""

    lost: Sequence[str] = ()

    def __init__(
        self,
        origin: Origin | None,
        number: int,
        deliveries: Sequence[rollout_pb2.Delivery],
        whole: rollout_pb2.LeaseBatchReply | None,
    ) -> None:
        self._origin = origin
        self.number = number
        self.deliveries = deliveries
        self.whole = whole

    @property
    def reports(self) -> RewardReports:
        raise InvalidInput("a detached batch cannot report rewards; `Run.report_rewards` does, in any process")

    def origin(self) -> Origin | None:
        """Whose it is; None for trees that were asked for by name."""
        return self._origin

    def is_from(self, holder: object) -> bool:
        """Whether it is of an iterator's batches: not any more."""
        return False


class DetachedBatch(BatchData):
    """A batch as data: it can be pickled, and knows no service. `treeroll.integrations.torch_data` passes them on."""

    _leased: DetachedTrees

    def __reduce__(self) -> tuple[object, ...]:
        trees = self._leased
        message = rollout_pb2.LeaseTreesReply(deliveries=trees.deliveries)
        whole = trees.whole.SerializeToString() if trees.whole else None
        return _attached, (trees.origin(), trees.number, message.SerializeToString(), whole)


def detached(held: "Held | CollectedTrees | DetachedTrees") -> DetachedBatch:
    """The same trees, without whoever holds their leases."""
    whole = None
    if held.whole is not None:
        whole = rollout_pb2.LeaseBatchReply()
        whole.CopyFrom(held.whole)
        del whole.deliveries[:]
    return DetachedBatch(DetachedTrees(held.origin(), held.number, held.deliveries, whole))


def _attached(origin: Origin | None, number: int, deliveries: bytes, whole: bytes | None) -> DetachedBatch:
    message = rollout_pb2.LeaseTreesReply.FromString(deliveries)
    share = rollout_pb2.LeaseBatchReply.FromString(whole) if whole is not None else None
    return DetachedBatch(DetachedTrees(origin, number, message.deliveries, share))


class Done(NamedTuple):
    """What an acknowledgement did."""

    trees: list[Range]
    """Places in the feed: of a share, those of the whole step, for when all ranks are done with it."""
    seen: Mapping[int, int] = {}
    """Where they came from, as in `GroupProgress.seen`."""
    step: int = 0
    lost: str = ""
    """A sentence about trees whose leases moved on; all others are acknowledged."""


async def acknowledge(channel: Channel, batch: DetachedBatch) -> Done:
    """Acknowledge a batch whose leases others hold. GroupMoved and ShareConflict as for the batch itself."""
    trees, origin = batch._leased, batch._leased.origin()
    if origin is None:  # trees that were asked for by name
        return Done([])
    if trees.whole is not None:
        request = rollout_pb2.AckBatchRequest(
            run_id=origin.run_id,
            group=origin.group,
            group_epoch=origin.epoch,
            step=trees.number,
            rank=origin.rank,
            world=origin.world,
        )
        await channel.call("AckBatch", request, rollout_pb2.AckBatchReply)
        places = [(pair.first, pair.last) for pair in trees.whole.global_seqs]
        return Done(places, {trees.whole.owner_epoch: places[-1][1]}, trees.number)
    leases = {delivery.lease_id: delivery for delivery in trees.deliveries}
    ack = rollout_pb2.AckTreesRequest(run_id=origin.run_id, group=origin.group, lease_ids=list(leases))
    lost = {*(await channel.call("AckTrees", ack, rollout_pb2.LeasesReply)).lost}
    trees.lost = [tree_id_of(leases[lease]) for lease in lost]
    done = [delivery for lease, delivery in leases.items() if lease not in lost]
    places = ranges.of(delivery.delivery_seq for delivery in done)
    return Done(places, last_of_each(done), lost=moved_on(trees.lost, len(leases)) if lost else "")
