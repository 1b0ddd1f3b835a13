"""Where a service listens: from its first moment for health checks, for all else when it has its parts."""

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import grpc

from treeroll.access.config import AccessConfig
from treeroll.access.interceptor import AccessInterceptor
from treeroll.access.tls import replica_pass, server_certificate
from treeroll.access.tokens import Tokens
from treeroll.channels import Gate, Pass, listen, make_server
from treeroll.config import CoordinatorConfig
from treeroll.coordinator.api import RolloutsApi, add_rollouts
from treeroll.coordinator.fleet_plane import FleetPlane
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.readiness import Readiness
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.errors import Unavailable
from treeroll.pb.v1 import fleet_pb2_grpc, replica_pb2_grpc

log = logging.getLogger(__name__)

# How long calls that are being answered may take to end.
CLOSE_S = 1.0
# How often the port of an owner that one stands by for is tried, seconds.
TRY_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Door:
    """A server that has its port and says that it is alive, and in time answers everything else."""

    server: grpc.aio.Server
    port: int
    gate: Gate
    readiness: Readiness
    tokens: Tokens | None
    replicas_know: Pass
    """What replicas know the server by."""
    probes: grpc.aio.Server | None
    """Answers health checks alone, without TLS, if there is a port for that."""

    def admit(self, replica_id: str) -> Pass:
        """With what a process that we start may be this replica, and whoever was it before may not."""
        return replace(self.replicas_know, token=self.tokens.mint(replica_id) if self.tokens else "")

    async def close(self, within_s: float) -> None:
        """Listen no more; calls that are being answered have so long to end."""
        await asyncio.gather(*(server.stop(within_s) for server in (self.server, self.probes) if server is not None))

    def answer(
        self, rollouts: RolloutsApi, replicas: ReplicaPlane, fleets: FleetPlane, coordinator: Coordinator
    ) -> None:
        """Answer clients, replicas and fleets from here on."""
        add_rollouts(rollouts, self.gate)
        replica_pb2_grpc.add_ReplicaPlaneServicer_to_server(replicas, self.gate)
        fleet_pb2_grpc.add_FleetPlaneServicer_to_server(fleets, self.gate)
        self.gate.open()
        self.readiness.follow(coordinator)


async def first_door(stack: AsyncExitStack, config: CoordinatorConfig, access: AccessConfig) -> Door | None:
    """A door from the beginning; None for one who stands by where the owner listens. Unavailable if it cannot be."""
    try:
        door = await open_door(config, access)
    except Unavailable as error:
        if not (config.standby and config.port):
            raise
        log.warning("answers nobody, health checks included, until it has its port: %s", error)
        return None
    stack.push_async_callback(door.close, CLOSE_S)
    return door


async def door_when_free(stack: AsyncExitStack, config: CoordinatorConfig, access: AccessConfig) -> Door:
    """A door where the owner listens, once it is dead. Who lives has its port: taking its store would help nobody."""
    while True:
        await asyncio.sleep(TRY_AGAIN_S)
        try:
            door = await open_door(config, access)
        except Unavailable:
            continue
        stack.push_async_callback(door.close, CLOSE_S)
        return door


async def open_door(config: CoordinatorConfig, access: AccessConfig | None = None) -> Door:
    """Listen, answering health checks only.

    Unavailable if that cannot be, with the system's reason; InvalidInput for a certificate or tokens that cannot be.
    """
    access = access or AccessConfig()
    certificate = server_certificate(access)
    known_by = replica_pass(certificate, access.ca)
    tokens = Tokens(access.tokens) if access.tokens else None
    gate, readiness = Gate(), Readiness()
    server = make_server(gate, guards=[AccessInterceptor(tokens, access)] if tokens else ())
    port = listen(server, config.host, config.port, certificate.credentials() if certificate else None)
    probes = None if config.health_port is None else _probed(readiness, config.host, config.health_port)
    await readiness.answer_on(gate)
    for each in filter(None, (probes, server)):
        await each.start()
    return Door(server, port, gate, readiness, tokens, known_by, probes)


def _probed(readiness: Readiness, host: str, port: int) -> grpc.aio.Server:
    server = make_server(readiness.probes())
    listen(server, host, port)
    return server
