"""One run on many GPU replicas in virtual time: how busy they are, and how long it takes."""

import asyncio
import gc
import math
from collections import deque
from dataclasses import dataclass

from treeroll import clock
from treeroll.core.model.run import TaskSpec
from treeroll.errors import BrokenInvariant, InvalidInput
from treeroll.invariants import Invariant
from treeroll.simulation.event_queue import EventQueue
from treeroll.simulation.step_model import StepModel
from treeroll.simulation.virtual_barrier import NO_LIMIT, VirtualBarrier
from treeroll.simulation.virtual_coordinator import Latency, VirtualCoordinator
from treeroll.simulation.virtual_core import RUN_AHEAD, Grown, VirtualCore, Workload
from treeroll.simulation.virtual_kv import VirtualKv
from treeroll.simulation.virtual_replica import Reports, VirtualReplica

# Events between two looks at Ctrl-C.
SLICE = 10_000
# Utilisation is taken between the first and the last of so many finished trees.
EDGE = 0.05
FEWEST_TREES = 20


@dataclass(frozen=True, slots=True)
class Schedule:
    """A way to schedule the same trees."""

    placement: str = "parent_affinity"
    hold: bool = False
    """Each segment is a new request."""
    barrier: bool = False
    """All paths of a replica's batch wait for each other at every boundary."""
    refill: bool = False
    """With a barrier: the place of a finished tree is taken before the whole batch has ended."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The replicas, all alike, and what connects them."""

    replicas: int
    slots: int
    kv_tokens: int
    steps: StepModel
    latency: Latency
    batch_trees: int
    """Trees per replica that lockstep advances together."""
    ahead: int = 0
    """Branches granted to each replica beyond its slots: they wait there, and a free slot is taken at once."""


class Simulation:
    """One run of one schedule."""

    def __init__(self, cluster: Cluster, workload: Workload, trees: int, schedule: Schedule) -> None:
        if trees < FEWEST_TREES:
            raise InvalidInput(f"{trees} trees have no first and last 5 %: simulate at least {FEWEST_TREES}")
        needed = cluster.slots * workload.longest
        if cluster.kv_tokens < needed:
            raise InvalidInput(
                f"{cluster.kv_tokens:,} tokens of KV do not hold {cluster.slots} sequences of up to {workload.longest};"
                f" preemption is not simulated, so give at least {needed:,} or fewer slots"
            )
        self._cluster = cluster
        self._workload = workload
        self._trees = trees
        self._schedule = schedule
        self._queue = EventQueue()
        self._grown = Grown()
        self._cores: list[VirtualCore] = []
        self._replicas: dict[str, VirtualReplica] = {}
        self._coordinator: VirtualCoordinator | None = None
        self._step_s = [cluster.steps.decode_s(batch) for batch in range(cluster.slots + 1)]
        # Finished trees at both ends of the window, and (time, busy slot-seconds) when they were reached.
        self._edges = [math.ceil(trees * EDGE), trees - math.ceil(trees * EDGE)]
        self._window: list[tuple[float, float]] = []
        # The same for when the last task was taken: from then on there is ever less to do.
        self._drain: tuple[float, float] | None = None
        self._pool: deque[TaskSpec] = deque()  # of tasks that barriers have not taken
        self._ended_at = 0.0

    async def run(self) -> dict[str, float]:
        """Simulate to the last tree."""
        gc.collect()  # of the simulation before
        started = clock.monotonic()
        gc.disable()  # what a run drops is in no cycle: looking for some in its live trees finds none, and takes long
        try:
            await self._simulate()
        finally:
            gc.enable()
        if self._grown.trees != self._trees:
            raise BrokenInvariant(Invariant.DELIVERED_ONCE_ACKED, f"{self._grown.trees} of {self._trees} trees ended")
        return self._figures(clock.monotonic() - started)

    async def _simulate(self) -> None:
        if self._schedule.barrier:
            self._start_barriers()
        else:
            self._start_coordinator()
        while self._queue.run(SLICE):  # noqa: ASYNC110 - nothing is waited for: this lets a Ctrl-C in
            await asyncio.sleep(0)

    def _start_coordinator(self) -> None:
        core = self._core(None)
        coordinator = VirtualCoordinator(core, self._cluster.latency, self._queue, self._replicas, self._ticked)
        self._coordinator = coordinator
        for name in self._names():
            self._replicas[name] = self._replica(coordinator)
            core.join(name, self._cluster.slots + self._cluster.ahead)
        core.submit(self._workload.tasks(range(self._trees)))
        core.close()
        coordinator.plan_tick()

    def _start_barriers(self) -> None:
        self._pool.extend(self._workload.tasks(range(self._trees)))
        for name in self._names():
            barrier = VirtualBarrier(
                self._core(NO_LIMIT), self._cluster.latency, self._queue, self._pool, self._cluster.batch_trees,
                self._schedule.refill, self._ticked,
            )  # fmt: skip
            barrier.replica = self._replicas[name] = self._replica(barrier)
            self._cores[-1].join(name, NO_LIMIT)
            barrier.idle(0.0)

    def _names(self) -> list[str]:
        return [f"gpu-{number:04}" for number in range(self._cluster.replicas)]

    def _core(self, live_trees: int | None) -> VirtualCore:
        core = VirtualCore(self._workload, self._schedule.placement, self._schedule.hold, self._grown, live_trees)
        self._cores.append(core)
        return core

    def _replica(self, reports: Reports) -> VirtualReplica:
        cluster = self._cluster
        kv = VirtualKv(cluster.kv_tokens, self._workload.block_size)
        return VirtualReplica(self._step_s, cluster.steps.prefill_token_s, kv, self._queue, reports, RUN_AHEAD)

    def _ticked(self, now: float) -> None:
        """After every tick of a core: note the ends of the window."""
        while len(self._window) < 2 and self._grown.trees >= self._edges[len(self._window)]:
            self._window.append((now, self._busy_slot_s(now)))
        if self._drain is None and not self._pool and not any(core.waiting for core in self._cores):
            self._drain = now, self._busy_slot_s(now)
        self._ended_at = now

    def _busy_slot_s(self, now: float) -> float:
        return sum(replica.busy_slot_s(now) for replica in self._replicas.values())

    def _utilisation(self, start: tuple[float, float], end: tuple[float, float]) -> float:
        slots = self._cluster.replicas * self._cluster.slots
        return (end[1] - start[1]) / ((end[0] - start[0]) * slots)

    def _figures(self, real_s: float) -> dict[str, float]:
        grown = self._grown
        recomputed = sum(replica.prefilled for replica in self._replicas.values()) - grown.prompt_tokens
        bound_s = self._bound_s()
        busy_s = self._coordinator.busy_s if self._coordinator else 0.0
        figures = {
            "utilisation": self._utilisation(*self._window),
            "makespan_s": self._ended_at,
            "bound_s": bound_s,
            "bound_share": bound_s / self._ended_at,
            "recomputed_tokens": recomputed,
            "recomputed_percent": 100 * recomputed / grown.tokens,
            "requests": sum(replica.requests for replica in self._replicas.values()),
            "expired": sum(core.expired for core in self._cores),
            "coordinator_percent": 100 * busy_s / self._ended_at,
            "trees": grown.trees,
            "leaves": grown.leaves,
            "segments": grown.segments,
            "tokens": grown.tokens,
            "real_s": real_s,
            "segments_per_real_s": grown.segments / real_s,
        }
        if self._drain is not None and self._drain[0] > self._window[0][0]:
            figures["utilisation_before_drain"] = self._utilisation(self._window[0], self._drain)
        return figures

    def _bound_s(self) -> float:
        """No schedule is faster: all work on replicas that are always full, or the longest path alone."""
        cluster, grown, steps = self._cluster, self._grown, self._cluster.steps
        work_s = grown.tokens / steps.best_rate(cluster.slots) + grown.prompt_tokens * steps.prefill_token_s
        return max(work_s / cluster.replicas, grown.longest_path * steps.decode_s(1))
