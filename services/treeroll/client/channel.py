"""One gRPC channel to the service: credentials, deadlines, retries, typed errors.

Every call of the Rollouts service is idempotent, so every call is retried while the service does not answer, up to
`timeout_s` in total.
"""

import asyncio
import random
from pathlib import Path
from typing import Any, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from treeroll import errors
from treeroll.addresses import is_loopback, split
from treeroll.channels import open_channel
from treeroll.client import fork
from treeroll.forks import generation
from treeroll.pb.v1 import rollout_pb2_grpc

FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 2.0
# Longest wait for a first answer: long enough for a service that is just starting to listen, short for a mistyped port.
CONNECT_S = 3.0

# CANCELLED: what calls in flight get from a server that is being stopped; our own cancellations are no AioRpcError.
_RETRIED = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})

Tls = bool | str | Path | grpc.ChannelCredentials | None
R = TypeVar("R", bound=Message)


class Channel:
    """Calls the service. Belongs to the event loop that runs when it is made."""

    def __init__(self, address: str, *, token: str | None = None, tls: Tls = None, timeout_s: float = 30.0) -> None:
        """`tls`: True for the system's roots, a path to a PEM file of roots, or ready credentials.

        Raises InvalidInput for an address that is none, or a token that would travel unencrypted off this machine;
        CallerError in a child that was forked from a process that used gRPC.
        """
        if not timeout_s > 0:
            raise errors.InvalidInput(f"timeout_s must be greater than 0, got {timeout_s}")
        self.address = check_address(address)
        self.timeout_s = timeout_s
        if token and not tls and not is_local(address):
            raise errors.InvalidInput(f"a token for {address} would travel unencrypted; give tls= as well")
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        fork.check_opening()
        self._made_in = generation()
        self._channel = _open(address, tls)
        stub: Any = rollout_pb2_grpc.RolloutsStub  # generated without types
        self._stub = stub(self._channel)

    async def call(
        self, method: str, request: Message, reply: type[R], *, extra_s: float = 0.0, within_s: float | None = None
    ) -> R:
        """Call `method`, retrying while the service does not answer.

        `extra_s` is how long the service itself may wait by design; `within_s` replaces timeout_s. Raises the typed
        error that the service names, Unavailable after the last try.
        """
        fork.check_use(self._made_in)
        clock = asyncio.get_running_loop().time
        deadline = clock() + (within_s or self.timeout_s) + extra_s
        backoff = FIRST_BACKOFF_S
        while True:
            try:
                answer = getattr(self._stub, method)(
                    request, timeout=max(deadline - clock(), 0.01), metadata=self._metadata
                )
                return cast(R, await answer)
            except grpc.aio.AioRpcError as error:
                wait = max(backoff, _asked_to_wait(error))
                pause = wait * random.uniform(0.5, 1.0)  # noqa: S311 - spreads out the retries of many trainers
                if error.code() not in _RETRIED or clock() + pause >= deadline:
                    raise typed(error, self.address, method) from None
            await asyncio.sleep(pause)
            backoff = min(backoff * 2, MAX_BACKOFF_S)

    async def close(self) -> None:
        """Close the connection; calls in flight are cancelled. No effect in a forked child: it is the parent's."""
        if self._made_in == generation():
            await self._channel.close()


def _asked_to_wait(error: grpc.aio.AioRpcError) -> float:
    """Seconds that the service wants not to be asked again; 0 if it does not say."""
    said = str(dict(error.trailing_metadata() or ()).get(errors.RETRY_METADATA_KEY, ""))
    return min(int(said) / 1000, MAX_BACKOFF_S) if said.isdecimal() else 0.0


def check_address(address: str) -> str:
    """The address, if it has the form HOST:PORT or unix:PATH; else InvalidInput."""
    if not address.startswith("unix:"):
        split(address)
    return address


def is_local(address: str) -> bool:
    """Whether traffic to the address stays on this machine."""
    return address.startswith("unix:") or is_loopback(split(address)[0])


def _open(address: str, tls: Tls) -> grpc.aio.Channel:
    if not tls:
        return open_channel(address)
    if isinstance(tls, str | Path):
        try:
            tls = grpc.ssl_channel_credentials(Path(tls).read_bytes())
        except OSError as error:
            raise errors.InvalidInput(f"tls certificate file {tls} cannot be read: {error.strerror}") from None
    credentials = grpc.ssl_channel_credentials() if tls is True else tls
    return open_channel(address, credentials)


def typed(error: grpc.aio.AioRpcError, address: str, method: str) -> errors.TreerollError:
    """The typed error of a failed call: as the service names it, else by status code."""
    details = error.details() or error.code().name
    name = dict(error.trailing_metadata() or ()).get(errors.ERROR_METADATA_KEY)
    if name is not None:
        kind = errors.by_name(name.decode() if isinstance(name, bytes) else str(name))
        if issubclass(kind, errors.BrokenInvariant):
            invariant, _, detail = details.partition(": ")
            return kind(invariant, detail)
        return kind(details)
    kind, sentence = _BY_CODE.get(error.code(), (errors.TreerollError, "{method} at {address} failed: {details}"))
    return kind(sentence.format(method=method, address=address, details=details))


# Statuses that gRPC itself or something between us and the service makes, without our metadata.
_BY_CODE: dict[grpc.StatusCode, tuple[type[errors.TreerollError], str]] = {
    grpc.StatusCode.UNAVAILABLE: (
        errors.Unavailable,
        "nobody answers at {address}; is `treeroll serve` running there? ({details})",
    ),
    grpc.StatusCode.CANCELLED: (errors.Unavailable, "{address} stopped while {method} was under way; try again"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (
        errors.Unavailable,
        "nobody answers at {address} in time for {method}; is `treeroll serve` running there?",
    ),
    grpc.StatusCode.INVALID_ARGUMENT: (errors.InvalidInput, "{details}"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (errors.InvalidInput, "{method} is too large for {address}: {details}"),
    grpc.StatusCode.NOT_FOUND: (errors.CallerError, "{details}"),
    grpc.StatusCode.ALREADY_EXISTS: (errors.Conflict, "{details}"),
    grpc.StatusCode.FAILED_PRECONDITION: (errors.CallerError, "{details}"),
    grpc.StatusCode.UNAUTHENTICATED: (errors.CallerError, "{address} refuses this client: {details}; check token="),
    grpc.StatusCode.PERMISSION_DENIED: (
        errors.CallerError,
        "{address} does not allow {method} to this token: {details}",
    ),
    grpc.StatusCode.UNIMPLEMENTED: (
        errors.TreerollError,
        "{address} does not know {method}; is it a treeroll service of this version?",
    ),
}
