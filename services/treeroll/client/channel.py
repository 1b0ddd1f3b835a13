"""One channel to the service, which may have several addresses: credentials, deadlines, repeats, typed errors.

Every call of the Rollouts service acts once however often it is sent, so every call is repeated while the service does
not answer, is starting, or waits for its store, up to `timeout_s` in total. Whoever stands by for a service has an
address of its own: the one that serves is found by asking.
"""

import asyncio
import math
import os
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from treeroll import errors
from treeroll.addresses import check_addresses, is_local
from treeroll.channels import SILENT_MS, Options, Pass, open_channel, read_roots
from treeroll.client import fork
from treeroll.client.absence import Absence
from treeroll.forks import generation
from treeroll.pb.v1 import rollout_pb2, rollout_pb2_grpc

FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 2.0
# How long calls are repeated: longer than a coordinator takes to be back, and than most outages of a store last.
PATIENCE_S = 600.0
# Longest wait for a first answer: long enough for a service that is just starting to listen, short for a mistyped port.
CONNECT_S = 3.0
# The same while nothing refuses the call either: somebody may be there, on a machine that is busy.
SILENT_S = 15.0
# A call that ends so much later than it was to end at the latest says that this process stood still, seconds.
STOOD_STILL_S = 5.0

TOKEN_VARIABLE, TOKEN_FILE_VARIABLE, CA_VARIABLE = "TREEROLL_TOKEN", "TREEROLL_TOKEN_FILE", "TREEROLL_CA"
"""The token, else a file that has it, and the file of the roots by which the service's certificate is known."""


def token_of_environment() -> str:
    """The token that the environment has or names a file of; "" without one. InvalidInput for a file that has none."""
    token, file = os.environ.get(TOKEN_VARIABLE, ""), os.environ.get(TOKEN_FILE_VARIABLE, "")
    if token or not file:
        return token
    try:
        found = Path(file).read_text("ascii").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it has characters that no token has"
        raise errors.InvalidInput(f"{TOKEN_FILE_VARIABLE} is {file}, which cannot be read: {reason}") from None
    if not found:
        raise errors.InvalidInput(f"{TOKEN_FILE_VARIABLE} is {file}, which is empty; put the token there")
    return found


# CANCELLED: what calls in flight get from a server that is being stopped; our own cancellations are no AioRpcError.
# ABORTED: from one that has lost its store to another, and ends. DEADLINE_EXCEEDED: of one try among several.
_REPEATED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
# A process that stands still, or a machine that is gone, closes no connection: while a call waits, the other side is
# asked whether it lives. Network threads answer, so that a busy event loop is no death.
_KEEPALIVE: Options = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", SILENT_MS),
    ("grpc.http2.max_pings_without_data", 0),
]

Tls = bool | str | Path | grpc.ChannelCredentials | None
R = TypeVar("R", bound=Message)


def trace_of_caller() -> tuple[tuple[str, str], ...]:
    """The trace that the caller works in, as metadata of a call: nothing unless it uses OpenTelemetry itself."""
    tracing = sys.modules.get("opentelemetry.trace")
    if tracing is None:
        return ()
    now = tracing.get_current_span().get_span_context()
    if not now.is_valid:
        return ()
    return (("traceparent", f"00-{now.trace_id:032x}-{now.span_id:016x}-{now.trace_flags:02x}"),)


_Read = Callable[[Any, type[R]], Awaitable[R]]
"""From a call that was sent to its reply."""


async def _whole(sent: Any, reply: type[R]) -> R:
    return cast(R, await sent)


async def _merged(sent: Any, reply: type[R]) -> R:
    whole = reply()
    async for part in sent:
        whole.MergeFrom(part)
    return whole


@dataclass(slots=True)
class _Limits:
    """Longest times of a call, seconds."""

    all_s: float
    """For all tries, beside what the service waits by design."""
    extra_s: float = 0.0
    """What it waits so in each try."""
    try_s: float = math.inf
    """For one of them."""
    alone_s: float = math.inf
    """For all, while no service of ours has answered."""
    silent_s: float = 0.0
    """The same, once a try was neither answered nor refused."""

    def heard(self, error: grpc.aio.AioRpcError) -> None:
        """How a try has ended may be a reason to wait longer for somebody who is there."""
        if _named(error):
            self.alone_s = math.inf
        elif error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            self.alone_s = max(self.alone_s, self.silent_s)


class Channel:
    """Calls the service. Belongs to the event loop that runs when it is made."""

    def __init__(
        self, address: str, *, token: str | None = None, tls: Tls = None, timeout_s: float = PATIENCE_S
    ) -> None:
        """`address`: one, or several of one service, joined by commas. `tls`: True for the system's roots, a path to a
        PEM file of roots, ready credentials, or False for none. What is None comes from TREEROLL_TOKEN, else the
        file that TREEROLL_TOKEN_FILE names, and TREEROLL_CA.

        Raises InvalidInput for an address that is none, or a token that would travel unencrypted off this machine;
        CallerError in a child that was forked from a process that used gRPC.
        """
        if not timeout_s > 0:
            raise errors.InvalidInput(f"timeout_s must be greater than 0, got {timeout_s}")
        self.address = address
        self.timeout_s = timeout_s
        self._addresses = check_addresses(address)
        token = token_of_environment() if token is None else token
        tls = (os.environ.get(CA_VARIABLE) or None) if tls is None else tls
        if token and not tls and not all(map(is_local, self._addresses)):
            raise errors.InvalidInput(
                f"a token for {address} would travel unencrypted; give tls= as well, or set {CA_VARIABLE}"
            )
        if not (token.isascii() and token.isprintable()):
            raise errors.InvalidInput(f"the token for {address} is none: it has characters that no token has")
        self._metadata = Pass(token).metadata()
        fork.check_opening()
        self._made_in = generation()
        self._channels = [_open(one, tls) for one in self._addresses]
        stub: Any = rollout_pb2_grpc.RolloutsStub  # generated without types
        self._stubs = [stub(channel) for channel in self._channels]
        self._at = 0  # which address is asked
        self.absence = Absence(address, asyncio.get_running_loop().time)

    async def call(
        self, method: str, request: Message, reply: type[R], *, extra_s: float = 0.0, within_s: float | None = None
    ) -> R:
        """Call `method`, and repeat it while the service does not answer.

        `extra_s` is how long the service itself may wait by design; `within_s` replaces timeout_s. Raises the typed
        error that the service names, Unavailable after the last try.
        """
        return await self._call(method, request, reply, _Limits(within_s or self.timeout_s, extra_s))

    async def merged(self, method: str, request: Message, reply: type[R]) -> R:
        """The same for a method that answers in parts: all of them, merged in their order."""
        return await self._call(method, request, reply, _Limits(self.timeout_s), _merged)

    async def connect(self, connect_s: float | None = None) -> None:
        """Find who serves. Unavailable if that takes longer than connect_s; None: at each address than CONNECT_S while
        calls are refused and than SILENT_S while nobody answers them, and than timeout_s in all once one says that it
        is starting or stands by."""
        limits = _Limits(connect_s or self.timeout_s, try_s=CONNECT_S)
        if connect_s is None:
            limits.alone_s, limits.silent_s = (each_s * len(self._addresses) for each_s in (CONNECT_S, SILENT_S))
        await self._call("GetService", rollout_pb2.GetServiceRequest(), rollout_pb2.ServiceStatus, limits)

    async def _call(
        self, method: str, request: Message, reply: type[R], limits: "_Limits", read: "_Read[R]" = _whole
    ) -> R:
        fork.check_use(self._made_in)
        clock = asyncio.get_running_loop().time
        began, backoff = clock(), FIRST_BACKOFF_S
        refusal: errors.TreerollError | None = None
        with self.absence.noted() as miss:
            while True:
                at, sent = self._at, clock()
                timeout_s = max(min(began + limits.all_s - sent, limits.try_s), 0.01) + limits.extra_s
                try:
                    send = getattr(self._stubs[at], method)
                    metadata = (*self._metadata, *trace_of_caller())
                    return await read(send(request, timeout=timeout_s, metadata=metadata), reply)
                except grpc.aio.AioRpcError as error:
                    hurried = timeout_s < CONNECT_S and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                    if refusal is None or not hurried:  # else there was no time to be told again
                        refusal = typed(error, self._addresses[at], method)
                    if error.code() not in _REPEATED and not isinstance(refusal, errors.TooManyCalls):
                        raise refusal from None
                    limits.heard(error)
                    wait = max(backoff, _asked_to_wait(error))
                took_s = clock() - sent
                # Who was stopped, or slept, knows nothing of the service in that time.
                began += took_s if took_s > timeout_s + STOOD_STILL_S else min(took_s, limits.extra_s)
                pause = wait * random.uniform(0.5, 1.0)  # noqa: S311 - spreads out the repeats of many trainers
                waited_s = clock() - began
                if waited_s + pause >= min(limits.all_s, limits.alone_s):
                    if backoff == FIRST_BACKOFF_S:
                        raise refusal
                    raise _given_up(refusal, method, waited_s)
                self._turn(at, refusal)
                miss(str(refusal))
                await asyncio.sleep(pause)
                backoff = min(backoff * 2, MAX_BACKOFF_S)

    def _turn(self, at: int, refusal: errors.TreerollError) -> None:
        """Ask the next address from here on, unless another call has turned, or who serves just cannot for now."""
        if self._at == at and not isinstance(refusal, errors.StoreDown | errors.TooManyCalls | errors.TreeChanged):
            self._at = (at + 1) % len(self._addresses)

    async def close(self) -> None:
        """Close the connections; calls in flight are cancelled. No effect in a forked child: they are the parent's."""
        if self._made_in == generation():
            await asyncio.gather(*(channel.close() for channel in self._channels))


def _given_up(refusal: errors.TreerollError, method: str, waited_s: float) -> errors.TreerollError:
    """The last refusal, which says what is the matter, and that its call may be made again."""
    return type(refusal)(f"{refusal}; {method} was repeated for {waited_s:.3g} s, and may be called again")


def _asked_to_wait(error: grpc.aio.AioRpcError) -> float:
    """Seconds that the service wants not to be asked again; 0 if it does not say."""
    said = str(dict(error.trailing_metadata() or ()).get(errors.RETRY_METADATA_KEY, ""))
    return min(int(said) / 1000, MAX_BACKOFF_S) if said.isdecimal() else 0.0


def _open(address: str, tls: Tls) -> grpc.aio.Channel:
    if not tls:
        return open_channel(address, more=_KEEPALIVE)
    if isinstance(tls, str | Path):
        tls = grpc.ssl_channel_credentials(read_roots(Path(tls)))
    credentials = grpc.ssl_channel_credentials() if tls is True else tls
    return open_channel(address, credentials, _KEEPALIVE)


def _named(error: grpc.aio.AioRpcError) -> str:
    """Name of the typed error, if a service of ours has raised it; else ""."""
    name = dict(error.trailing_metadata() or ()).get(errors.ERROR_METADATA_KEY, "")
    return name.decode() if isinstance(name, bytes) else str(name)


def typed(error: grpc.aio.AioRpcError, address: str, method: str) -> errors.TreerollError:
    """The typed error of a failed call: as the service names it, else by status code."""
    details = error.details() or error.code().name
    if name := _named(error):
        kind = errors.by_name(name)
        if issubclass(kind, errors.BrokenInvariant):
            invariant, _, detail = details.partition(": ")
            return kind(invariant, detail)
        return kind(details)
    if error.code() is grpc.StatusCode.UNAVAILABLE and "andshake failed" in details:
        return errors.Unavailable(
            f"the certificate of {address} is not known by tls= or {CA_VARIABLE}, is for another name, or expired, or "
            f"there is no TLS at all ({details})"
        )
    if error.code() is grpc.StatusCode.UNAVAILABLE and details.endswith("Socket closed"):
        details += f"; if it serves with TLS, give tls= or set {CA_VARIABLE}"
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
