"""Readiness: what gRPC's health service says, to whoever restarts, balances or waits.

The service name "" is liveness: SERVING as long as somebody answers. `treeroll.v1.Rollouts` is readiness: SERVING while
new work would grow, that is while every pool has a replica, and the service neither drains nor stops.
"""

import asyncio

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from treeroll.coordinator.loop import Coordinator
from treeroll.pb.v1 import rollout_pb2 as api

ROLLOUTS = api.DESCRIPTOR.services_by_name["Rollouts"].full_name
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Readiness:
    """Follows a coordinator from tick to tick."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._state = coordinator.state
        self._answers = health.aio.HealthServicer()
        self._ready: bool | None = None
        self._stopping = False
        self._said: asyncio.Task[None] | None = None
        coordinator.on_tick = self.look

    async def answer_on(self, server: grpc.aio.Server) -> None:
        """Serve health checks there, right from the first moment."""
        await self._answers.set("", SERVING)
        await self._answers.set(ROLLOUTS, NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._answers, server)

    def look(self) -> None:
        """Something may have changed."""
        pools = self._state.pools.values()
        ready = not self._stopping and not self._state.draining and all(pool.replicas for pool in pools)
        if ready != self._ready:
            self._ready = ready
            # The answer is another from the task's first step on; what follows wakes those who watch.
            said = self._answers.set(ROLLOUTS, SERVING if ready else NOT_SERVING)
            self._said = asyncio.create_task(said, name="readiness")

    def stop(self) -> None:
        """Not ready from here on, however long taking down may last."""
        self._stopping = True
        self.look()
