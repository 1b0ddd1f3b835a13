"""Channels: where gRPC connections begin and end, for clients, replicas and the service."""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from treeroll.access.requests import read_first
from treeroll.addresses import join
from treeroll.errors import ERROR_METADATA_KEY, InvalidInput, Unavailable, grpc_code

MESSAGE_BYTES = 64 << 20
# Who has taken nothing that was sent, or not said that it lives, for so long is gone, milliseconds: its network, or its
# process that stands still. A busy one answers, since gRPC's own threads do. All there is to lose is a connection.
SILENT_MS = 5_000
Options = list[tuple[str, Any]]

_MESSAGES: Options = [
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
]
_CHANNEL: Options = [
    *_MESSAGES,
    # A proxy meant for the internet must not come between a service, its replicas and its trainers.
    ("grpc.enable_http_proxy", 0),
    # gRPC's own reconnects back off to two minutes; a coordinator is back within seconds.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
]


_SERVER: Options = [
    *_MESSAGES,
    ("grpc.so_reuseport", 0),
    # Clients ask whether we live while their calls wait, more often than gRPC puts up with by default: every 10 s.
    ("grpc.http2.min_ping_interval_without_data_ms", 9_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # One connection that floods is a queue of so many calls for the others. Further ones wait with their client.
    ("grpc.max_concurrent_streams", 100),
    # Who has nothing to say connects again when that changes; who does not come to say anything is not waited for.
    ("grpc.max_connection_idle_ms", 600_000),
    ("grpc.server_handshake_timeout_ms", 20_000),
]


@dataclass(frozen=True, slots=True)
class Pass:
    """What a process shows to a service, and what it knows the service by. Plain values, which travel to replicas."""

    token: str = field(default="", repr=False)
    tls: bool = False
    roots: str = ""
    """File of certificates, PEM; "": those of the system."""
    server_name: str = ""
    """The name that the service's certificate must have; "": the host of the address."""

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with a call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def open(self, address: str, more: Options | None = None) -> grpc.aio.Channel:
        """As `open_channel`. InvalidInput if the roots cannot be read."""
        if not self.tls:
            return open_channel(address, more=more)
        named: Options = [("grpc.ssl_target_name_override", self.server_name)] if self.server_name else []
        roots = read_roots(Path(self.roots)) if self.roots else None
        return open_channel(address, grpc.ssl_channel_credentials(roots), [*named, *(more or [])])


def read_roots(file: Path) -> bytes:
    """Certificates in PEM. InvalidInput naming a file that holds none: gRPC would find nobody that it trusts."""
    try:
        roots = file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"certificate file {file} cannot be read: {error.strerror}") from None
    if b"-----BEGIN CERTIFICATE-----" not in roots:
        raise InvalidInput(f"certificate file {file} holds no certificate in PEM")
    return roots


def open_channel(
    address: str, credentials: grpc.ChannelCredentials | None = None, more: Options | None = None
) -> grpc.aio.Channel:
    """A channel to HOST:PORT or unix:PATH, which connects when it is first used."""
    options = _CHANNEL + (more or [])
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=options)


def open_blocking_channel(address: str) -> grpc.Channel:
    """The same for code without an event loop."""
    return grpc.insecure_channel(address, options=_CHANNEL)


def make_server(
    *handlers: grpc.GenericRpcHandler, guards: Sequence[grpc.aio.ServerInterceptor] = ()
) -> grpc.aio.Server:
    """A server that listens nowhere yet; calls pass the guards first."""
    return grpc.aio.server(handlers=handlers, interceptors=guards, options=_SERVER)


class Gate(grpc.GenericRpcHandler):
    """The methods of a server that starts before it has all of them: gRPC's own takes none after that.

    Generated code adds services to it as to a server. Until it is opened, calls of what is missing get its `refusal`.
    """

    def __init__(self) -> None:
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._closed: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(self._refuse)
        self._open = False
        self.refusal = Unavailable("the service is still starting; try again in a while")

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Generated code gives its methods twice; the other way is the one we take."""

    def add_registered_method_handlers(
        self, service: str, methods: "dict[str, grpc.RpcMethodHandler[Any, Any]]"
    ) -> None:
        """Take a service's methods."""
        paths = {f"/{service}/{name}": method for name, method in methods.items()}
        self._methods |= {path: read_first(path, method) for path, method in paths.items()}

    def refuse_with(self, refusal: Unavailable) -> None:
        """What calls get until it is opened."""
        self.refusal = refusal

    def open(self) -> None:
        """All services are there."""
        self._open = True

    def service(self, call: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Who answers a call; None: nobody knows the method."""
        return self._methods.get(call.method) or (None if self._open else self._closed)

    async def _refuse(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata(((ERROR_METADATA_KEY, type(self.refusal).__name__),))
        await context.abort(grpc.StatusCode[grpc_code(self.refusal)], str(self.refusal))
        return b""


def listen(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials | None = None) -> int:
    """Have the server listen on a port, 0 for any that is free; with TLS, if it has credentials. Returns the port.

    Raises Unavailable saying why the system does not allow that.
    """
    if port:
        check_port(host, port)
    try:
        if credentials is None:
            return server.add_insecure_port(join(host, port))
        return server.add_secure_port(join(host, port), credentials)
    except RuntimeError as error:  # says no more than that it failed
        check_port(host, port)
        raise Unavailable(f"cannot listen on {join(host, port)}: {error}") from None


def check_port(host: str, port: int) -> None:
    """Unavailable unless the host has the port: gRPC gives no cause, and is content with one of a name's addresses."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Unavailable(f"cannot listen on {join(host, port)}: {error.strerror}") from None
    refusals = [_refusal(family, place) for family, *_, place in found]
    failures = [refusal for refusal in refusals if refusal is not None]
    if any(failure.errno == errno.EADDRINUSE for failure in failures):
        raise Unavailable(f"port {port} on {host} is taken; choose another with --port, or 0 for any")
    if failures and len(failures) == len(found):  # else one of them will do, as without IPv6
        raise Unavailable(f"cannot listen on {join(host, port)}: {failures[0].strerror}")


def _refusal(family: socket.AddressFamily, place: tuple[Any, ...]) -> OSError | None:
    """Why the system does not give us this address and port."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        return error
    return None
