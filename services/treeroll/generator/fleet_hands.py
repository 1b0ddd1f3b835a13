"""A supervisor and its word to the coordinator: what it reports, and what it is ordered."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from treeroll.generator.fleet_link import FleetLink
from treeroll.pb.v1 import fleet_pb2 as wire
from treeroll.pb.v1 import replica_pb2

if TYPE_CHECKING:
    from treeroll.generator.supervisor import Supervisor


def join_hands(supervisor: "Supervisor", link: FleetLink) -> None:
    """From here on the link tells what the supervisor does, and the supervisor does what the link is told."""
    roster = supervisor.roster

    def draining() -> Iterable[wire.DrainingReplica]:
        for seat in roster.seats.values():
            if seat.until is not None and seat.ready:
                told = replica_pb2.Draining(within_s=seat.left_s, cause=seat.cause, preempted=seat.preempted)
                process = supervisor.processes[seat.replica_id]
                yield wire.DrainingReplica(replica_id=seat.replica_id, process=process, draining=told)

    def obey(answer: wire.FleetAnswer) -> None:
        for order in answer.scale:
            supervisor.scale(order.pool, order.replicas, order.first, order.within_s)
        for drain in answer.drain:
            told = drain.draining
            supervisor.drain(drain.replica_id, drain.process, told.within_s, told.cause, drain.elsewhere)

    link.kept = lambda: {pool: roster.kept(pool) for pool in roster.pools}
    link.wanted = lambda: roster.wanted
    link.not_scheduled = lambda: [
        wire.NotScheduled(replica_id=seat.replica_id, pool=seat.pool, why=seat.unplaced)
        for seat in roster.seats.values()
        if seat.unplaced
    ]
    link.restarts = lambda: supervisor.restarts
    link.draining = draining
    link.obey = obey
    supervisor.on_change = link.wake
