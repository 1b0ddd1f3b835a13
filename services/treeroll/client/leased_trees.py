"""LeasedTrees: the leased trees of one batch."""

from collections.abc import Sequence

from treeroll import ranges
from treeroll.client.credit import RewardReports
from treeroll.client.leases import Leases
from treeroll.client.progress import Origin, last_of_each
from treeroll.client.records import samples_in, tree_id_of
from treeroll.errors import LeaseLost
from treeroll.pb.v1 import rollout_pb2
from treeroll.ranges import Range


class LeasedTrees:
    """The leased trees of one batch: settled once, by acknowledging them or by giving them back."""

    whole: rollout_pb2.LeaseBatchReply | None = None
    """It is no share of a global batch."""

    def __init__(
        self, leases: Leases, deliveries: Sequence[rollout_pb2.Delivery], reports: RewardReports, number: int = 1
    ) -> None:
        """`number`: which batch of its iterator it is, from 1 on."""
        self._leases = leases
        self.number = number
        self.reports = reports
        self._ids = {delivery.lease_id: tree_id_of(delivery) for delivery in deliveries}
        self.deliveries = deliveries
        self.settled = False
        self.lost: list[str] = []

    def origin(self) -> Origin:
        """Whose it is."""
        progress = self._leases.progress
        return Origin(progress.run_id, progress.group, progress.epoch)

    def hand_over(self) -> None:
        """Somebody else settles it; leases are renewed until they are found to be settled."""
        self.settled = True

    def is_from(self, holder: object) -> bool:
        """Whether these leases hold it."""
        return self._leases is holder

    @property
    def trees(self) -> int:
        """Its trees with samples."""
        return sum(samples_in(delivery) > 0 for delivery in self.deliveries)

    def has_samples(self) -> bool:
        """Whether a tree of it has any."""
        return self.trees > 0

    def done(self) -> list[Range]:
        """What of the feed is done with it: its trees that are not lost."""
        return ranges.of(delivery.delivery_seq for delivery in self._kept())

    def seen(self) -> dict[int, int]:
        """Where these trees came from, as in `GroupProgress.seen`."""
        return last_of_each(self._kept())

    def _kept(self) -> list[rollout_pb2.Delivery]:
        return [delivery for delivery in self.deliveries if tree_id_of(delivery) not in self.lost]

    async def ack(self) -> None:
        """Acknowledge all trees. LeaseLost names those whose lease moved on; the others are acknowledged."""
        if not self.settled:
            self.lost = await self._leases.ack(self._ids)
            self.settled = True
            self._leases.progress.add(self.done(), self.seen())
        if self.lost:
            raise LeaseLost(moved_on(self.lost, len(self._ids)))

    async def release(self) -> None:
        """Give all trees back, unless they are settled."""
        if not self.settled:
            self.drop()
            await self._leases.release(self._ids)

    def drop(self) -> None:
        """Hold nothing any more, without telling the service."""
        self.settled = True
        self.lost = list(self._ids.values())


def moved_on(lost: Sequence[str], trees: int) -> str:
    """What is said of the trees that were lost of so many."""
    return (
        f"the leases of trees {', '.join(lost)} moved on or were given back, so these trees come again; "
        f"the other {trees - len(lost)} of the batch are acknowledged"
    )
