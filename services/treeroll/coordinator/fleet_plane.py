"""Fleets: the FleetPlane server. Who starts replicas says what it keeps alive, and which processes are gone."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc

from treeroll import __version__, clock
from treeroll.access.identity import check_may_be
from treeroll.coordinator.admission import REPLICA_ID
from treeroll.coordinator.fleet_orders import FleetOrders
from treeroll.coordinator.loop import Coordinator, Item
from treeroll.coordinator.replica_server import ReplicaPlane, drain_of, first_incarnation
from treeroll.coordinator.replica_session import ReplicaSession
from treeroll.core.model.events import LossKind, ReplicaDraining, ReplicaLost
from treeroll.errors import InvalidInput, TreerollError, grpc_code
from treeroll.pb.v1 import fleet_pb2 as wire
from treeroll.pb.v1 import fleet_pb2_grpc
from treeroll.versions import work_together

log = logging.getLogger(__name__)

# A fleet that has said nothing for so many of its turns is one that nobody knows anything of.
FORGOTTEN_TURNS = 10.0
LOSSES = {wire.PROCESS_END_PREEMPTED: LossKind.PREEMPTED, wire.PROCESS_END_STOPPED: LossKind.LEFT}
MOST_CHARS = 2000
MOST_REPLICAS, MOST_FLEETS = 100_000, 1_000
"""Replicas that a fleet may say to have; fleets that are known at a time."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a fleet said last."""

    report: wire.FleetReport
    at: float


class FleetPlane(fleet_pb2_grpc.FleetPlaneServicer):
    """Hears the fleets of one coordinator."""

    def __init__(self, coordinator: Coordinator, replicas: ReplicaPlane, report_s: float) -> None:
        """`report_s`: seconds between two reports of a fleet."""
        self._coordinator = coordinator
        self._replicas = replicas
        self._report_s = report_s
        self._told: dict[str, _Told] = {}
        self.orders = FleetOrders()
        """What operators want of fleets."""
        self.restarts: dict[str, int] = {}
        """How often each replica of a fleet has been started again, by its name."""

    async def Report(self, report: wire.FleetReport, context: Any) -> wire.FleetAnswer:
        """Take what a fleet says, and answer with what it must know."""
        try:
            self._check(report)
            return await self.exchange(report)
        except TreerollError as error:
            await context.abort(grpc.StatusCode[grpc_code(error)], str(error))
            raise

    async def exchange(self, report: wire.FleetReport) -> wire.FleetAnswer:
        """The same, for the fleet of this very process."""
        self._take(report)
        await self._coordinator.confirm()  # or another has taken over, and must hear it
        seen = self._coordinator.state.incarnations
        answer = wire.FleetAnswer(
            epoch=self._coordinator.epoch,
            first_incarnation=first_incarnation(self._coordinator.epoch),
            incarnations={name: seen[name] for name in report.restarts if name in seen},
            report_s=self._report_s,
        )
        self.orders.take(report, answer)
        return answer

    def having(self, pool: str) -> list[str]:
        """Names of the fleets that have replicas of a pool, or are to have some."""
        return sorted(report.fleet for report in self._fresh() if pool in report.wanted)

    def not_scheduled(self, pool: str) -> list[str]:
        """Why replicas of a pool wait for a node, a sentence for each that does."""
        told = [one for report in self._fresh() for one in report.not_scheduled if one.pool == pool]
        return [f"replica {one.replica_id} is not scheduled: {one.why}"[:MOST_CHARS] for one in told]

    def fleet_of(self, replica_id: str) -> str | None:
        """Which fleet keeps a replica alive; None: nobody says so."""
        return next((report.fleet for report in self._fresh() if replica_id in report.restarts), None)

    def wanted(self, pool: str, fleet: str | None = None) -> int | None:
        """How many replicas of a pool there are to be, in all or of one fleet; None: no fleet says anything."""
        told = [report.wanted for report in self._fresh() if fleet in (None, report.fleet)]
        return sum(wanted.get(pool, 0) for wanted in told) if told else None

    def kept(self, pool: str) -> int | None:
        """How many replicas of a pool fleets keep alive; None: no fleet says anything."""
        fresh = list(self._fresh())
        return sum(report.kept.get(pool, 0) for report in fresh) if fresh else None

    def _check(self, report: wire.FleetReport) -> None:
        """InvalidInput for a report that is none, NotAllowed for replicas that are not the caller's."""
        if report.fleet and not REPLICA_ID.fullmatch(report.fleet):
            raise InvalidInput("the name of a fleet must be up to 64 of letters, digits, '.', '_' and '-'")
        if not work_together(report.version, __version__):
            raise InvalidInput(
                f"fleet '{report.fleet}' has treeroll {report.version[:64] or 'of an older version'}, the service has "
                f"{__version__}: install {__version__} where the fleet runs, and on its nodes"
            )
        maps = report.restarts, report.kept, report.wanted
        lists = report.lost, report.draining, report.not_scheduled
        if max(map(len, (*maps, *lists))) > MOST_REPLICAS:
            raise InvalidInput(f"fleet '{report.fleet}' says to have more than {MOST_REPLICAS} replicas")
        lost, draining = (one.replica_id for one in report.lost), (one.replica_id for one in report.draining)
        for name in (*report.restarts, *lost, *draining):
            check_may_be(name)

    def _take(self, report: wire.FleetReport) -> None:
        if report.fleet not in self._told and len(self._told) < MOST_FLEETS:
            log.info("fleet '%s' keeps %d replicas alive", report.fleet, sum(report.kept.values()))
        for one in report.lost:
            if (session := self._session(one)) is not None:
                kind = LOSSES.get(one.end, LossKind.DIED)
                lost = ReplicaLost(one.replica_id, session.hello.incarnation, one.cause, kind)
                self._coordinator.post_nowait(Item([lost]))
        for draining in report.draining:
            if (session := self._session(draining)) is not None:
                drain = ReplicaDraining(draining.replica_id, session.hello.incarnation, drain_of(draining.draining))
                self._coordinator.post_nowait(Item([drain]))
        if report.kept:
            if report.fleet in self._told or len(self._told) < MOST_FLEETS:
                self._told[report.fleet] = _Told(report, clock.monotonic())
                self.restarts |= report.restarts
        elif self._told.pop(report.fleet, None) is not None:
            log.info("fleet '%s' has ended", report.fleet)

    def _session(self, said: wire.LostReplica | wire.DrainingReplica) -> ReplicaSession | None:
        """Of that very process: what comes late says nothing of the one that has its place."""
        session = self._replicas.sessions.get(said.replica_id)
        return session if session is not None and session.hello.process == said.process and not session.lost else None

    def _fresh(self) -> Iterator[wire.FleetReport]:
        """What was said lately, but for the time in which this process was held up and heard nobody."""
        for name, told in list(self._told.items()):
            if (silent_s := self._coordinator.hearing.silent_s(told.at)) <= FORGOTTEN_TURNS * self._report_s:
                yield told.report
            else:
                log.warning("fleet '%s' has said nothing for %.0f s", name, silent_s)
                del self._told[name]
