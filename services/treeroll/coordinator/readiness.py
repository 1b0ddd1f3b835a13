"""Readiness: what gRPC's health service says, to whoever restarts, balances or waits.

The service name "" is liveness: SERVING as long as somebody answers. `treeroll.v1.Rollouts` is readiness: SERVING while
new work would grow: while every pool has a replica that is not quarantined, the store takes writes and has room, and
the service neither drains nor stops. `available` is for whoever keeps several of a store and takes down one after the
other: SERVING while this one has the store, or hears its owner and could go on in its place.
"""

import asyncio

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from treeroll.channels import Gate
from treeroll.coordinator.loop import Coordinator
from treeroll.core.model.fleet import QUARANTINED
from treeroll.pb.v1 import rollout_pb2 as api

ROLLOUTS = api.DESCRIPTOR.services_by_name["Rollouts"].full_name
AVAILABLE = "available"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Readiness:
    """Not ready until it follows a coordinator, from tick to tick."""

    def __init__(self) -> None:
        self._coordinator: Coordinator | None = None
        self._answers = health.aio.HealthServicer()
        self._answered: dict[str, bool] = {}
        self._stands_by = False
        self._stopping = False
        self._saying: set[asyncio.Task[None]] = set()

    def follow(self, coordinator: Coordinator) -> None:
        """Be ready when that can grow trees."""
        self._coordinator = coordinator
        coordinator.on_tick = self.look
        coordinator.outage.on_change.append(self.look)

    async def answer_on(self, server: Gate) -> None:
        """Serve health checks there, right from the first moment."""
        await self._answers.set("", SERVING)
        await self._answers.set(ROLLOUTS, NOT_SERVING)
        await self._answers.set(AVAILABLE, NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._answers, server)

    def probes(self) -> grpc.GenericRpcHandler:
        """The same answers for a server that gives no others. It has no `Watch`, whose calls would stay."""
        check = grpc.unary_unary_rpc_method_handler(
            self._answers.Check,
            request_deserializer=health_pb2.HealthCheckRequest.FromString,
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(health.SERVICE_NAME, {"Check": check})

    def stand_by(self, in_place: bool) -> None:
        """Whether the owner of the store is heard, so that this one could go on in its place."""
        self._stands_by = in_place
        self.look()

    def look(self) -> None:
        """Something may have changed."""
        coordinator, stands_by = (None, False) if self._stopping else (self._coordinator, self._stands_by)
        self._answer(ROLLOUTS, coordinator is not None and _grows(coordinator))
        self._answer(AVAILABLE, stands_by if coordinator is None else coordinator.outage.since is None)

    def _answer(self, service: str, serving: bool) -> None:
        if serving == self._answered.get(service):
            return
        self._answered[service] = serving
        # The answer is another from the task's first step on; what follows wakes those who watch.
        said = self._answers.set(service, SERVING if serving else NOT_SERVING)
        saying = asyncio.create_task(said, name=f"readiness of {service}")
        self._saying.add(saying)
        saying.add_done_callback(self._saying.discard)

    def stop(self) -> None:
        """Not ready from here on, however long taking down may last."""
        self._stopping = True
        self.look()


def _grows(coordinator: Coordinator) -> bool:
    state = coordinator.state
    return (
        coordinator.outage.since is None
        and not state.draining
        and not state.store_full
        and all(
            any(replica.health.standing is not QUARANTINED for replica in pool.members) for pool in state.pools.values()
        )
    )
