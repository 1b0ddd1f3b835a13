"""Readiness: what gRPC's health service says, to whoever restarts, balances or waits.

The service name "" is liveness: SERVING as long as somebody answers. `treeroll.v1.Rollouts` is readiness: SERVING while
new work would grow: while every pool has a replica that is not quarantined, the store takes writes and has room, and
the service neither drains nor stops.
"""

import asyncio

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from treeroll.channels import Gate
from treeroll.coordinator.loop import Coordinator
from treeroll.core.model.fleet import QUARANTINED
from treeroll.pb.v1 import rollout_pb2 as api

ROLLOUTS = api.DESCRIPTOR.services_by_name["Rollouts"].full_name
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Readiness:
    """Not ready until it follows a coordinator, from tick to tick."""

    def __init__(self) -> None:
        self._coordinator: Coordinator | None = None
        self._answers = health.aio.HealthServicer()
        self._ready: bool | None = None
        self._stopping = False
        self._said: asyncio.Task[None] | None = None

    def follow(self, coordinator: Coordinator) -> None:
        """Be ready when that can grow trees."""
        self._coordinator = coordinator
        coordinator.on_tick = self.look
        coordinator.outage.on_change.append(self.look)

    async def answer_on(self, server: Gate) -> None:
        """Serve health checks there, right from the first moment."""
        await self._answers.set("", SERVING)
        await self._answers.set(ROLLOUTS, NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._answers, server)

    def look(self) -> None:
        """Something may have changed."""
        ready = not self._stopping and self._coordinator is not None and _grows(self._coordinator)
        if ready != self._ready:
            self._ready = ready
            # The answer is another from the task's first step on; what follows wakes those who watch.
            said = self._answers.set(ROLLOUTS, SERVING if ready else NOT_SERVING)
            self._said = asyncio.create_task(said, name="readiness")

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
