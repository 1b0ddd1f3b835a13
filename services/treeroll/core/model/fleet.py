"""Replicas as the core sees them, and which of them have room or too much to do."""

import heapq
from dataclasses import dataclass, field

from treeroll.core.model.health import Health, Standing
from treeroll.core.model.weights import Holding
from treeroll.core.model.work_queue import WorkQueue

# Looked up for every branch, see node.LEAF.
SUSPECT, QUARANTINED = Standing.SUSPECT, Standing.QUARANTINED


@dataclass(frozen=True, slots=True)
class Drain:
    """A replica is to end: why, and until when what it runs may end there, in seconds on the clock of `now`."""

    deadline: float
    cause: str
    preempted: bool = False  # its machine is taken away


@dataclass(slots=True)
class Replica:
    """A replica as the core sees it. `queue` holds branches that should run here, for their prefix is here."""

    replica_id: str
    incarnation: int
    slots: int
    block_size: int
    max_model_len: int
    heard_at: float
    model: str = ""  # its pool
    kv_usage: float = 0.0
    grants: set[int] = field(default_factory=set)
    queue: WorkQueue = field(default_factory=WorkQueue)
    in_long_queues: bool = False
    weights: Holding = field(default_factory=Holding)
    lags: bool = False  # it has not loaded the weights in force, and gets no work before that
    drain: Drain | None = None  # it is to end
    health: Health = field(default_factory=Health)
    generated: int = 0  # tokens, as it says itself
    moved_at: float = 0.0  # when it last made a token, or had its first branch to make one for

    @property
    def free(self) -> int:
        """Slots without a branch."""
        return self.slots - len(self.grants)

    @property
    def rests(self) -> bool:
        """Whether it is to take no work."""
        return self.lags or self.drain is not None or self.health.standing is QUARANTINED

    @property
    def load(self) -> int:
        """Branches that run or wait here."""
        return len(self.grants) + len(self.queue)


@dataclass(slots=True)
class FreeSlots:
    """Replicas by free slots, most first, found without looking at each. Entries that are out of date are skipped."""

    heap: list[tuple[int, str]] = field(default_factory=list)
    free: int = 0  # of all replicas together
    slots: int = 0

    def add(self, replica: Replica) -> None:
        """A replica came."""
        self.slots += replica.slots
        self.changed(replica, replica.free)

    def remove(self, replica: Replica) -> None:
        """A replica went, with whatever it was running."""
        self.slots -= replica.slots
        self.free -= replica.free

    def changed(self, replica: Replica, by: int) -> None:
        """The replica has `by` more free slots than before."""
        self.free += by
        if replica.free > 0:
            heapq.heappush(self.heap, (-replica.free, replica.replica_id))

    def freest(self, replicas: dict[str, Replica]) -> Replica | None:
        """The replica with the most free slots, None if none has any."""
        if len(self.heap) > 64 + 4 * len(replicas):
            self.heap = [(-replica.free, name) for name, replica in replicas.items() if replica.free > 0]
            heapq.heapify(self.heap)
        while self.heap:
            free, name = self.heap[0]
            replica = replicas.get(name)
            if replica is not None and replica.free == -free:
                return replica
            heapq.heappop(self.heap)
        return None


@dataclass(slots=True)
class LongQueues:
    """Replicas with branches that wait there for a slot, about the longest queue first.

    A queue's length is looked at when its turn comes: one that has grown meanwhile stands a little too far back.
    """

    heap: list[tuple[int, str]] = field(default_factory=list)

    def add(self, replica: Replica) -> None:
        """Branches wait at this replica."""
        if not replica.in_long_queues:
            replica.in_long_queues = True
            heapq.heappush(self.heap, (-len(replica.queue), replica.replica_id))

    def longest(self, replicas: dict[str, Replica]) -> Replica | None:
        """The replica with the longest queue, None if all queues are empty."""
        while self.heap:
            length, name = self.heap[0]
            replica = replicas.get(name)
            if replica is None or not len(replica.queue):
                heapq.heappop(self.heap)
                if replica is not None:
                    replica.in_long_queues = False
            elif len(replica.queue) == -length:
                return replica
            else:
                heapq.heapreplace(self.heap, (-len(replica.queue), name))
        return None
