"""Replies with trees, written piece by piece: trees go from the store's records to the wire in one copy.

As messages they would be copied into the reply, and once more, with room that is found by doubling, when it is
serialised; that took longer than reading them.
"""

from treeroll.feed.freshness import Delivered
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.records.assemble import assemble, pieces
from treeroll.records.wire import DELIVERY_TREE, REPLY_DELIVERIES, varint
from treeroll.store.base import Lease

# Trees in one reply stop at about this many bytes, well under the message limit.
REPLY_BYTES = 16 << 20


class Reply:
    """Deliveries of one reply: a LeaseTreesReply, or the first part of a LeaseBatchReply."""

    def __init__(self, *, stored: bool, epoch: int) -> None:
        """`stored`: trees are to travel as they are stored. `epoch` is the owner's."""
        self._epoch = epoch
        self._stored = stored
        self._pieces: list[bytes] = []
        self.size = 0
        """The size of the trees, in bytes."""

    def add(self, lease: Lease, deadline: float, delivered: Delivered, traceparent: str = "") -> None:
        """A leased tree; the deadline is in seconds since the epoch. `traceparent` names the span of the delivery."""
        tree = delivered.tree
        head = api.Delivery(
            lease_id=lease.lease_id,
            deadline=deadline,
            delivery_seq=lease.seq,
            times_delivered=lease.times_delivered,
            tree_id=lease.tree_id,
            samples=delivered.samples,
            weight_version=delivered.weight_version,
            owner_epoch=self._epoch,
            traceparent=traceparent,
        ).SerializeToString()
        body = pieces(tree) if self._stored else [assemble(tree).SerializeToString()]
        size = sum(map(len, body))
        head += DELIVERY_TREE + varint(size)
        self._pieces += (REPLY_DELIVERIES, varint(len(head) + size), head, *body)
        self.size += size

    def add_unleased(self, seq: int, tree_id: str, delivered: Delivered) -> None:
        """A tree of a global batch, which has no lease of its own."""
        self.add(Lease("", tree_id, seq, 0), 0.0, delivered)

    def serialised(self) -> bytes:
        """The reply as it travels."""
        return b"".join(self._pieces)
