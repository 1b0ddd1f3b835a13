"""Whether somebody answers at an address: a health check, which needs no token and passes TLS as all calls do."""

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from treeroll.channels import Pass
from treeroll.client.channel import typed
from treeroll.errors import InvalidInput

ASK_S = 10.0


async def why_unreached(address: str, shown: Pass) -> str:
    """Why nobody answers there, as a sentence; "" if somebody does."""
    try:
        channel = shown.open(address)
    except InvalidInput as error:
        return str(error)
    async with channel:
        try:
            await HealthStub(channel).Check(HealthCheckRequest(), timeout=ASK_S)
        except grpc.aio.AioRpcError as error:
            return str(typed(error, address, "a health check"))
    return ""
