"""Pools: the replicas of one model, and what waits for them."""

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from treeroll.core.model.events import LossKind
from treeroll.core.model.fleet import QUARANTINED, SUSPECT, FreeSlots, LongQueues, Replica
from treeroll.core.model.pool_model import PoolModel
from treeroll.core.model.quarantine import Quarantine
from treeroll.core.model.weights import PoolWeights
from treeroll.core.model.work_queue import WorkQueue


@dataclass(slots=True)
class Pool:
    """The replicas of one model that take work, and the branches that wait for one of them.

    Apart from those are the ward of its quarantine, suspects, and replicas that rest: for they lag behind the weights
    in force, drain, or are quarantined.

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
    model: PoolModel | None = None  # None: it has never had a replica
    weights: PoolWeights = field(default_factory=PoolWeights)
    suspects: dict[str, Replica] = field(default_factory=dict)
    resting: dict[str, Replica] = field(default_factory=dict)
    placements: int = 0  # placements so far
    trees: int = 0  # that grow here
    outcomes: Counter[str] = field(default_factory=Counter)  # grants that ended, by outcome
    ends: Counter[LossKind] = field(default_factory=Counter)  # replicas that went

    @property
    def members(self) -> list[Replica]:
        """All its replicas, with the ward, suspects and those that rest."""
        ward = self.quarantine.ward
        apart = (*self.suspects.values(), *self.resting.values(), *([] if ward is None else [ward]))
        return [*self.replicas.values(), *apart]

    def has_others(self, refused: tuple[str, ...]) -> bool:
        """Whether a replica may serve a branch that these have refused, now or soon: not one that is the ward, drains
        or is quarantined."""
        return any(
            replica.replica_id not in refused and replica.drain is None and replica.health.standing is not QUARANTINED
            for replica in (*self.replicas.values(), *self.suspects.values(), *self.resting.values())
        )

    @contextmanager
    def changing(self, replica: Replica) -> Iterator[None]:
        """What the replica may take changes inside of this, and its place with it. A ward keeps its own."""
        known = replica is not self.quarantine.ward
        if known:
            self.remove(replica)
            replica.in_long_queues = False
        try:
            yield
        finally:
            if known:
                self.add(replica)

    def add(self, replica: Replica) -> None:
        """A replica came, or is no ward any more."""
        if replica.rests:
            self.resting[replica.replica_id] = replica
            return
        if replica.health.standing is SUSPECT:
            self.suspects[replica.replica_id] = replica
            return
        self.replicas[replica.replica_id] = replica
        self.free_slots.add(replica)
        insort(self.ready, replica.replica_id)

    def remove(self, replica: Replica) -> None:
        """A replica went, or takes no work of the pool for now."""
        for apart in (self.resting, self.suspects):
            if apart.pop(replica.replica_id, None) is not None:
                return
        del self.replicas[replica.replica_id]
        self.free_slots.remove(replica)
        self.ready.remove(replica.replica_id)


def names(pools: Iterable[str]) -> str:
    """What pools serve, in a sentence."""
    return " and ".join(f"'{name}'" if name else "one model without a name" for name in pools)
