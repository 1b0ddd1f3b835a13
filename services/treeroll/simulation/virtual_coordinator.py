"""The coordinator's loop in virtual time: ticks that take what has gathered, one core for all replicas."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from treeroll.core.model.events import EndKind
from treeroll.simulation.event_queue import EventQueue
from treeroll.simulation.virtual_core import Orders, Report, VirtualCore
from treeroll.simulation.virtual_kv import Span
from treeroll.simulation.virtual_replica import Request, VirtualReplica

# As the real loop's.
TICK_LIMIT = 8192


@dataclass(frozen=True, slots=True)
class Latency:
    """Between replicas and coordinator, in seconds."""

    round_trip_s: float
    commit_s: float
    """Seconds of a tick, whatever is in it: the store's answer."""
    segment_s: float
    """The coordinator's work for each segment."""


class VirtualCoordinator:
    """Takes reports half a round trip after they were made; its answers need the other half."""

    def __init__(
        self, core: VirtualCore, latency: Latency, queue: EventQueue, replicas: Mapping[str, VirtualReplica],
        ticked: Callable[[float], None],
    ) -> None:  # fmt: skip
        self.busy_s = 0.0
        self._core = core
        self._latency = latency
        self._half_trip_s = latency.round_trip_s / 2
        self._queue = queue
        self._replicas = replicas
        self._ticked = ticked
        self._inbox: deque[Report] = deque()
        self._sent: deque[tuple[Orders, list[Report]]] = deque()
        self._free_at = 0.0
        self._tick_planned = False

    def report(
        self, now: float, request: Request, span: Span | None, cached: int | None, end: EndKind | None, dropped: int
    ) -> None:
        """See Reports."""
        self._inbox.append((now + self._half_trip_s, request, span, cached, end, dropped))
        if not self._tick_planned:
            self.plan_tick()

    def idle(self, now: float) -> None:
        """See Reports: the core knows by its grants."""

    def plan_tick(self) -> None:
        """Tick as soon as a report has come and the last tick is over."""
        self._tick_planned = True
        first = self._inbox[0][0] if self._inbox else 0.0
        self._queue.at(max(first, self._free_at), self._tick)

    def wake(self, now: float) -> None:
        """Something happened that is no report: tick now, if no tick is near, or as soon as the last one is over."""
        if not self._tick_planned:
            self._tick_planned = True
            self._queue.at(max(now, self._free_at), self._tick)

    def lose(self, name: str) -> int:
        """What a replica has reported and nobody has read is lost with it. Returns its tokens."""
        lost = [report for report in self._inbox if report[1].replica == name]
        for report in lost:
            self._inbox.remove(report)
        return sum(report[2].tokens for report in lost if report[2] is not None)

    def _tick(self, now: float) -> None:
        inbox, latency = self._inbox, self._latency
        reports: list[Report] = []
        while inbox and inbox[0][0] <= now and len(reports) < TICK_LIMIT:
            reports.append(inbox.popleft())
        orders = self._core.tick(now, reports)
        took_s = latency.commit_s + latency.segment_s * len(reports)
        self.busy_s += took_s
        self._free_at = now + took_s
        self._ticked(now)
        self._sent.append((orders, reports))
        self._queue.at(self._free_at + self._half_trip_s, self._deliver)
        self._tick_planned = False
        if inbox:
            self.plan_tick()

    def _deliver(self, now: float) -> None:
        orders, answered = self._sent.popleft()
        for report in answered:
            report[1].acknowledged += 1
        for request in orders.starts:
            self._replicas[request.replica].start(now, request)
        for name, grant in orders.stops:
            self._replicas[name].stop(now, grant)
