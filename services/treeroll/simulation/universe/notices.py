"""Who ends replicas: their fleet, which says so to the coordinator again and again until they are gone."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from treeroll import __version__
from treeroll.pb.v1 import fleet_pb2 as wire
from treeroll.pb.v1 import replica_pb2
from treeroll.simulation.universe.surroundings import Call
from treeroll.simulation.universe.virtual_server import VirtualServer

if TYPE_CHECKING:
    from treeroll.core.model.state import State
    from treeroll.simulation.universe.universe import Universe

EVERY_S = 1.0


@dataclass
class Notices:
    """A fleet, as far as it drains. Whoever drains gets no work from any coordinator that it has said Hello to."""

    universe: "Universe"
    _until: dict[tuple[str, int], float] = field(default_factory=dict)
    """By a server's name and process."""
    _seen: "State | None" = None
    _grants: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    """Of replicas that drain, by name and incarnation."""

    def give(self, server: VirtualServer, within_s: float) -> None:
        """The server's process is to end."""
        key = server.name, server.process
        if not server.alive or key in self._until:
            return
        self.universe.note(f"{server.name} is to end within {within_s:g} s")
        self._until[key] = self.universe.events.now + within_s
        self._say()

    def _say(self) -> None:
        universe, now = self.universe, self.universe.events.now
        there = {(server.name, server.process) for server in universe.servers if server.alive}
        self._until = {key: until for key, until in self._until.items() if key in there}
        if not self._until:
            return
        report = wire.FleetReport(kept=Counter(universe.pool_of.values()), version=__version__)
        for (name, process), until in self._until.items():
            told = replica_pb2.Draining(within_s=max(0.0, until - now), cause="its node goes", preempted=True)
            report.draining.add(replica_id=name, process=process, draining=told)
        life = universe.succession.called()
        if life is not None and life.serves and not universe.happens(universe.faults.requests_lost):
            life.ask(lambda: life.fleets.Report(report, Call()), lambda got, error: None)
        universe.after(EVERY_S, self._say)

    def ticked(self, state: "State") -> None:
        """Grants of a replica that drains are some of those that it had when it began to, or came back."""
        if state is not self._seen:
            self._seen, self._grants = state, {}
        for server in self.universe.servers:
            replica = state.replicas.get(server.name)
            if replica is None or replica.incarnation != server.incarnation:
                continue
            if replica.drain is None:
                if server.drain is not None:
                    self.universe.found("Drained", f"{server.name} has said that it drains, and may get work")
                continue
            had = self._grants.setdefault(server.key, set(replica.grants))
            if new := replica.grants - had:
                self.universe.found("Drained", f"{server.name} drains, and is granted {sorted(new)}")
