"""`treeroll health`: a probe for those that start containers and can only run a command in them."""

from typing import Annotated

import typer

TIMEOUT_S = 5.0


def health(
    address: Annotated[
        str,
        typer.Option("--address", metavar="HOST:PORT", help="Where it answers health checks without TLS."),
    ] = "127.0.0.1:7071",
    ready: Annotated[
        bool, typer.Option("--ready", help="Fail also while it stands by, or while new work would not grow.")
    ] = False,
) -> None:
    """Ask a service whether it is available; exit with 1 if not. Needs no token.

    Available is one that has its store, or stands by for the one that has. The
    port is that of coordinator.health_port; a service without TLS answers on
    its own port as well.

    [bold]Examples[/bold]

      treeroll health

      treeroll health --address 127.0.0.1:7070 --ready
    """
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from treeroll.addresses import join, split
    from treeroll.channels import open_blocking_channel
    from treeroll.errors import Unavailable

    what = "treeroll.v1.Rollouts" if ready else "available"
    with open_blocking_channel(join(*split(address))) as channel:
        try:
            request = health_pb2.HealthCheckRequest(service=what)
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            reason = error.details() or error.code().name
            raise Unavailable(f"no health check is answered at {address}: {reason}") from None
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise Unavailable(f"the service at {address} is not {'ready' if ready else 'available'}")
    print("ready" if ready else "available")
