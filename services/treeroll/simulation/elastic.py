"""A service in virtual time whose replicas come and go: the law of autoscaling in the loop, or a fleet of one size."""

import asyncio
import gc
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from treeroll import clock
from treeroll.autoscale.law import Decision, Law
from treeroll.autoscale.terms import Terms
from treeroll.simulation.cluster import SLICE, Cluster
from treeroll.simulation.event_queue import EventQueue
from treeroll.simulation.virtual_coordinator import VirtualCoordinator
from treeroll.simulation.virtual_core import RUN_AHEAD, Grown, VirtualCore, Workload
from treeroll.simulation.virtual_fleet import Market, VirtualFleet
from treeroll.simulation.virtual_kv import VirtualKv
from treeroll.simulation.virtual_replica import VirtualReplica

# How often the law looks, and clients submit, seconds.
LOOK_S = 1.0
# How far apart points of the timeline are.
POINT_S = 5.0
# Left out of utilisation: what it takes until the first trees are as deep as those behind them.
WARM_UP_S = 120.0


@dataclass(frozen=True, slots=True)
class Phase:
    """So many trees are wanted at a time: when one ends, another task comes. `seconds`: for how long."""

    seconds: float
    trees: int


@dataclass(frozen=True, slots=True)
class Point:
    """The service at one moment."""

    at: float
    wanted: int
    ready: int
    demand: float
    """Replicas that the demand of the stable window asks for, whatever the bounds are."""
    utilisation: float
    """Of the slots of ready replicas since the point before."""


@dataclass(slots=True)
class Course:
    """What happened."""

    points: list[Point] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    """Those that changed how many replicas there are to be."""

    def as_json(self) -> dict[str, Any]:
        """Points by column, and decisions."""
        columns: dict[str, list[float]] = {}
        for point in self.points:
            for name, value in asdict(point).items():
                columns.setdefault(name, []).append(round(value, 4))
        made = [
            {"at": one.at, "size": one.size, "desired": one.desired, "because": one.because()} for one in self.decisions
        ]
        return {"points": columns, "decisions": made}


class ElasticSimulation:
    """One course. `terms` None: the fleet has `size` replicas, all the time."""

    def __init__(
        self, cluster: Cluster, workload: Workload, market: Market, phases: Sequence[Phase], size: int,
        terms: Terms | None,
    ) -> None:  # fmt: skip
        self.course = Course()
        self._cluster, self._workload, self._phases = cluster, workload, phases
        self._queue, self._grown = EventQueue(), Grown()
        self._step_s = [cluster.steps.decode_s(batch) for batch in range(cluster.slots + 1)]
        self._replicas: dict[str, VirtualReplica] = {}
        self.core = VirtualCore(workload, "parent_affinity", False, self._grown, None)
        self._coordinator = VirtualCoordinator(
            self.core, cluster.latency, self._queue, self._replicas, lambda now: None
        )
        self._fleet = VirtualFleet(
            size, cluster.slots, market, self.core, self._coordinator, self._queue, self._replicas, self._replica,
            workload.seed,
        )  # fmt: skip
        self._law = Law(terms) if terms is not None else None
        self._meter = Law(terms or Terms(1, size, slots=cluster.slots))
        self._submitted = 0
        self._ready_slot_s = 0.0
        self._marked = (0.0, 0.0)  # busy and ready slot-seconds at the last point
        self._warm = (0.0, 0.0)
        self._widths = (0, 0)  # branches, trees

    async def run(self) -> dict[str, float]:
        """Simulate all phases; what grows at their end is left."""
        gc.collect()
        started = clock.monotonic()
        gc.disable()
        try:
            self._queue.at(0.0, self._look)
            while self._queue.run(SLICE):  # noqa: ASYNC110 - nothing is waited for: this lets a Ctrl-C in
                await asyncio.sleep(0)
        finally:
            gc.enable()
        return self._figures(clock.monotonic() - started)

    @property
    def mean_width(self) -> float:
        """Branches of a tree that grows."""
        branches, trees = self._widths
        return branches / trees if trees else 1.0

    @property
    def _seconds(self) -> float:
        return sum(phase.seconds for phase in self._phases)

    def _look(self, now: float) -> None:
        """Once a second, until all is over: then nothing that is planned happens any more."""
        if now >= self._seconds:
            self._queue.stop()
            return
        self._ready_slot_s += self._fleet.ready * self._cluster.slots * LOOK_S
        self._fleet.look(now, LOOK_S)
        self._submit(self._trees_wanted(now))
        signal = self.core.signal(now, self._fleet.wanted)
        self._widths = self._widths[0] + signal.live + signal.waiting, self._widths[1] + signal.trees
        decision = self._meter.look(signal)
        if self._law is not None:
            made = self._law.look(signal)
            if made.desired != made.size:
                self.course.decisions.append(made)
                self._fleet.scale(now, made.desired)
        if now % POINT_S < LOOK_S:
            self._mark(now, decision)
        if now < WARM_UP_S:
            self._warm = self._busy_slot_s(now), self._ready_slot_s
        self._coordinator.wake(now)
        self._queue.at(now + LOOK_S, self._look)

    def _trees_wanted(self, now: float) -> int:
        for phase in self._phases:
            if now < phase.seconds:
                return phase.trees
            now -= phase.seconds
        return 0

    def _submit(self, wanted: int) -> None:
        missing = wanted - self.core.live
        if missing > 0:
            self.core.submit(self._workload.tasks(range(self._submitted, self._submitted + missing)))
            self._submitted += missing

    def _mark(self, now: float, decision: Decision) -> None:
        busy, ready = self._busy_slot_s(now), self._ready_slot_s
        slots = ready - self._marked[1]
        used = (busy - self._marked[0]) / slots if slots else 0.0
        self._marked = busy, ready
        demand = decision.stable / decision.carries
        self.course.points.append(Point(now, self._fleet.wanted, self._fleet.ready, demand, used))

    def _replica(self) -> VirtualReplica:
        cluster = self._cluster
        kv = VirtualKv(cluster.kv_tokens, self._workload.block_size)
        return VirtualReplica(
            self._step_s, cluster.steps.prefill_token_s, kv, self._queue, self._coordinator, RUN_AHEAD
        )

    def _busy_slot_s(self, now: float) -> float:
        return sum(replica.busy_slot_s(now) for replica in self._replicas.values())

    def _figures(self, real_s: float) -> dict[str, float]:
        now, fleet, grown = self._seconds, self._fleet, self._grown
        paid_s = fleet.paid(now)
        busy = self._busy_slot_s(now)
        made = grown.tokens + self.core.unfinished_tokens + fleet.lost_tokens
        return {
            "utilisation": (busy - self._warm[0]) / (self._ready_slot_s - self._warm[1]),
            "paid_utilisation": busy / (paid_s * self._cluster.slots),
            "replica_hours": paid_s / 3600.0,
            "trees": grown.trees,
            "tokens": grown.tokens,
            "tokens_per_replica_s": grown.tokens / paid_s,
            "lost_tokens": fleet.lost_tokens,
            "lost_percent": 100.0 * fleet.lost_tokens / made,
            "lost_replicas": fleet.lost,
            "drained_replicas": fleet.drained,
            "decisions": len(self.course.decisions),
            "fewest": min(point.wanted for point in self.course.points),
            "most": max(point.wanted for point in self.course.points),
            "turns": sum(1 for _ in self._turns()),
            "real_s": real_s,
        }

    def _turns(self) -> Iterator[Decision]:
        """Decisions that take back the direction of the one before."""
        for before, after in zip(self.course.decisions, self.course.decisions[1:], strict=False):
            if (before.desired > before.size) != (after.desired > after.size):
                yield after
