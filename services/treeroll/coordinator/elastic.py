"""What operators ask of the replicas as a whole: others in the place of some, or another number of them."""

from collections.abc import Iterable, Sequence

from treeroll import clock
from treeroll.coordinator.fleet_orders import FleetOrders
from treeroll.coordinator.fleet_plane import FleetPlane
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.core.model.events import ReplicaDraining
from treeroll.core.model.fleet import QUARANTINED, Drain, Replica
from treeroll.core.model.pool import Pool, names
from treeroll.errors import InvalidInput, UnknownPool
from treeroll.pb.v1 import fleet_pb2 as wire
from treeroll.pb.v1 import replica_pb2
from treeroll.pb.v1 import rollout_pb2 as api

MOST_REPLICAS, LONGEST_S = 4096, 7 * 24 * 3600.0
CAUSE = "an operator drains it"


class Elastic:
    """Answers DrainReplicas and ScalePool of one coordinator."""

    def __init__(self, coordinator: Coordinator, replicas: ReplicaPlane, fleets: FleetPlane) -> None:
        self._coordinator = coordinator
        self._replicas = replicas
        self._fleets = fleets
        self._orders: FleetOrders = fleets.orders

    async def drain(self, request: api.DrainReplicasRequest) -> api.DrainReplicasReply:
        """Replicas, or all of a host, are to end; their fleets start others. InvalidInput for what is none."""
        within_s = _within(request.within_s)
        chosen = self._chosen(request.targets)
        if not request.force:
            self._check_left(chosen.keys())
        reply = api.DrainReplicasReply(replicas=sorted(chosen))
        orders: dict[str, list[wire.DrainOrder]] = {}
        for name, elsewhere in chosen.items():
            process = self._replicas.sessions[name].hello.process
            draining = replica_pb2.Draining(within_s=within_s, cause=CAUSE)
            fleet = self._fleets.fleet_of(name)
            if fleet is None:
                reply.unkept.append(name)
            else:
                order = wire.DrainOrder(replica_id=name, process=process, draining=draining, elsewhere=elsewhere)
                orders.setdefault(fleet, []).append(order)
        for name in chosen:
            replica = self._coordinator.state.replicas.get(name)
            if replica is not None:  # or it has ended meanwhile
                drain = Drain(clock.monotonic() + within_s, CAUSE)
                await self._coordinator.call(ReplicaDraining(name, replica.incarnation, drain))
        for fleet, wanted in orders.items():
            await self._orders.drain(fleet, wanted)
        return reply

    async def scale(self, request: api.ScalePoolRequest) -> api.ScalePoolReply:
        """A fleet is to have so many replicas of a pool. InvalidInput where that cannot be."""
        pool, within_s = self._pool(request.pool), _within(request.within_s)
        if request.replicas > MOST_REPLICAS:
            raise InvalidInput(f"a pool may have up to {MOST_REPLICAS} replicas, not {request.replicas}")
        if not request.replicas and pool.trees and not request.force:
            raise InvalidInput(
                f"{pool.trees} trees grow in {_named(pool)}, and would wait without a replica: let them end, or force "
                "it"
            )
        fleet = self._fleet(pool, request.fleet if request.HasField("fleet") else None)
        before = self._fleets.wanted(pool.name, fleet) or 0
        order = wire.ScaleOrder(
            pool=pool.name, replicas=request.replicas, first=self._least_first(pool), within_s=within_s
        )
        await self._orders.scale(fleet, order)
        return api.ScalePoolReply(fleet=fleet, before=before)

    def _chosen(self, targets: Sequence[str]) -> dict[str, bool]:
        """Names of replicas, with whether their host is to be left."""
        replicas, chosen = self._coordinator.state.replicas, dict[str, bool]()
        hosts = {name: self._replicas.sessions[name].hello.origin.host for name in replicas}
        for target in targets:
            if target in replicas:
                chosen.setdefault(target, False)
            elif here := [name for name, host in hosts.items() if host == target]:
                chosen |= dict.fromkeys(here, True)
            elif target not in self._replicas.sessions:  # or it has ended, and this is said again
                known = ", ".join([*sorted(replicas), *sorted(filter(None, set(hosts.values())))][:20])
                raise InvalidInput(
                    f"'{target}' is no replica that is here and no host of one: there is {known or 'none'}"
                )
        if not targets:
            raise InvalidInput("no replica and no host is named that is to drain")
        return chosen

    def _check_left(self, leaving: Iterable[str]) -> None:
        """InvalidInput if trees grow in a pool of which nobody is left that works."""
        gone = set(leaving)
        for pool in self._coordinator.state.pools.values():
            affected = [one for one in pool.members if one.replica_id in gone and one.drain is None]
            if affected and pool.trees and not any(_works(one) for one in pool.members if one.replica_id not in gone):
                named = " and ".join(sorted(one.replica_id for one in affected))
                raise InvalidInput(
                    f"without {named} no replica of {_named(pool)} works, and its {pool.trees} trees would wait for "
                    "another one to start: scale the pool up first, or force it"
                )

    def _least_first(self, pool: Pool) -> list[str]:
        """The replicas of a pool by the tokens of what they run, fewest first."""
        grants = self._coordinator.state.grants

        def tokens(replica: Replica) -> int:
            return sum(grants[grant][1].total for grant in replica.grants)

        return [one.replica_id for one in sorted(pool.members, key=lambda one: (tokens(one), one.replica_id))]

    def _pool(self, name: str) -> Pool:
        pools = self._coordinator.state.pools
        if not name and len(pools) == 1:
            return next(iter(pools.values()))
        try:
            return pools[name]
        except KeyError:
            raise UnknownPool(f"there is no pool '{name}': the service serves {names(pools)}") from None

    def _fleet(self, pool: Pool, asked: str | None) -> str:
        having = self._fleets.having(pool.name)
        if asked is not None:
            if asked not in having:
                raise InvalidInput(f"no fleet '{asked}' has replicas of {_named(pool)}: {_list(having)}")
            return asked
        if len(having) != 1:
            raise InvalidInput(
                f"the fleets {_list(having)} have replicas of {_named(pool)}: say which one (--fleet)"
                if having
                else f"no fleet has replicas of {_named(pool)}: whoever starts them starts more, or ends some"
            )
        return having[0]


def _works(replica: Replica) -> bool:
    return replica.drain is None and replica.health.standing is not QUARANTINED


def _named(pool: Pool) -> str:
    return f"pool '{pool.name}'" if pool.name else "the service's pool"


def _list(fleets: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in fleets) or "there is none"


def _within(seconds: float) -> float:
    if not 0.0 <= seconds <= LONGEST_S:
        raise InvalidInput(f"replicas may be given 0 to {LONGEST_S:.0f} s to end, not {seconds}")
    return seconds
