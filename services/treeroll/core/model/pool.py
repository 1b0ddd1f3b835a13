"""Pools: the replicas of one model, and what waits for them."""

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field

from treeroll.core.model.fleet import FreeSlots, LongQueues, Replica
from treeroll.core.model.quarantine import Quarantine
from treeroll.core.model.weights import PoolWeights
from treeroll.core.model.work_queue import WorkQueue


@dataclass(slots=True)
class Pool:
    """The replicas of one model that take work, and the branches that wait for one of them.

    Apart from those are the ward of its quarantine, and replicas that lag behind the weights in force.

    A branch never leaves its pool: another model's replicas neither have its prefix nor sample from its distribution.
    """

    name: str
    replicas: dict[str, Replica] = field(default_factory=dict)
    ready: list[str] = field(default_factory=list)  # names of replicas, sorted
    free_slots: FreeSlots = field(default_factory=FreeSlots)
    # Replicas that may have both a free slot and branches queued for them; a set that keeps its order.
    served_next: dict[str, None] = field(default_factory=dict)
    # Replicas without a free slot whose queued branches others may take.
    long_queues: LongQueues = field(default_factory=LongQueues)
    # Branches that any replica may take.
    anywhere: WorkQueue = field(default_factory=WorkQueue)
    quarantine: Quarantine = field(default_factory=Quarantine)
    weights: PoolWeights = field(default_factory=PoolWeights)
    lagging: dict[str, Replica] = field(default_factory=dict)
    placements: int = 0  # placements so far
    trees: int = 0  # that grow here

    @property
    def members(self) -> list[Replica]:
        """All its replicas, with the ward and those that lag."""
        ward = self.quarantine.ward
        return [*self.replicas.values(), *self.lagging.values(), *([] if ward is None else [ward])]

    def add(self, replica: Replica) -> None:
        """A replica came, or is no ward any more, or has caught up."""
        if replica.lags:
            self.lagging[replica.replica_id] = replica
            return
        self.replicas[replica.replica_id] = replica
        self.free_slots.add(replica)
        insort(self.ready, replica.replica_id)

    def remove(self, replica: Replica) -> None:
        """A replica went, or takes no work of the pool for now."""
        if self.lagging.pop(replica.replica_id, None) is not None:
            return
        del self.replicas[replica.replica_id]
        self.free_slots.remove(replica)
        self.ready.remove(replica.replica_id)


def names(pools: Iterable[str]) -> str:
    """What pools serve, in a sentence."""
    return " and ".join(f"'{name}'" if name else "one model without a name" for name in pools)
