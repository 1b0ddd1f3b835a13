"""The replica's end of the stream to the coordinator: one call after another until it is done or refused."""

import asyncio
import logging
import random
import time
from typing import Any, Protocol

import grpc

from treeroll.addresses import check_addresses
from treeroll.channels import SILENT_MS, Options, Pass
from treeroll.errors import InvalidInput, Unavailable
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.pb.v1 import replica_pb2_grpc

log = logging.getLogger(__name__)

# A coordinator that is gone without a word is noticed, sooner than another takes over and has all its replicas back.
KEEPALIVE: Options = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", SILENT_MS),
    ("grpc.min_reconnect_backoff_ms", 1_000),
]
# Answers that another try will not change.
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
}
# A coordinator that was started again, or taken over, has its replicas back within a second.
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.1, 1.0
WELCOME_TIMEOUT_S = 15.0


class SessionRefused(Unavailable):
    """The coordinator does not want this replica; its message says why."""


class Unfit(SessionRefused, InvalidInput):
    """It cannot take this replica, or this fleet, as it is: another version or model, or a name that is none."""


def refusal(code: grpc.StatusCode, sentence: str) -> SessionRefused:
    """The error for one of REFUSALS."""
    return Unfit(sentence) if code is grpc.StatusCode.INVALID_ARGUMENT else SessionRefused(sentence)


class LostLease(Unavailable):
    """What this replica was doing is others' now, but it is wanted still; the message says why."""


class Peer(Protocol):
    """What the session carries messages for."""

    def hello(self) -> wire.Hello:
        """The first message of a call."""

    async def welcome(self, welcome: wire.Welcome) -> bool:
        """Take the answer; False if its coordinator cannot know anything of our work."""

    async def apply(self, commands: wire.Commands) -> None:
        """Carry out commands, in order."""

    async def begin_anew(self) -> None:
        """Forget all work: others have it. From here on it is another incarnation."""

    def next_report(self) -> wire.Report | None:
        """What to send now, if anything."""

    def next_weights_report(self) -> wire.WeightsReport | None:
        """What to say of weights now, if anything."""

    def heartbeat(self) -> wire.Heartbeat:
        """Load right now."""

    @property
    def wake(self) -> asyncio.Event:
        """Set when there may be something to send, or when `is_done()` turned true."""

    def is_done(self) -> bool:
        """It is to end: nothing is left to do or to send, and nothing more will come, or it leaves."""


class Session:
    """Keeps a call to the coordinator open."""

    def __init__(self, address: str, peer: Peer, shown: Pass) -> None:
        """`address`: one, or several of one service, joined by commas: whoever stands by has an address of its own."""
        self._addresses = check_addresses(address)
        self._tries = 0
        self._peer = peer
        self._shown = shown
        self._backoff_s = FIRST_BACKOFF_S
        self._heartbeat_s = 1.0
        self.connected = asyncio.Event()
        """Set while a coordinator has welcomed us."""
        self.begun = False
        """Whether it was ever run, so that whatever had to come before is done."""
        self.welcomes = 0
        """How often a coordinator has."""
        self.trouble = ""
        """Why the last call ended, or none came about; empty before that."""
        self._said: dict[str, str] = {}  # what was logged of each address since a coordinator has welcomed us

    async def run(self) -> None:
        """Until the replica is done. Raises SessionRefused; everything else is tried again."""
        self.begun = True
        while not self._peer.is_done():
            try:
                cause = await self._connect()
            except LostLease as lost:
                cause = str(lost)
                await self._peer.begin_anew()
            if self._peer.is_done():
                return
            self.trouble = cause
            if self._said.get(self._address) != cause:  # one that is away is asked every second, for hours
                self._said[self._address] = cause
                log.warning("coordinator %s: %s; connecting again until it answers", self._address, cause)
            self._tries += 1
            await asyncio.sleep(self._backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads a fleet's reconnects
            self._backoff_s = min(2 * self._backoff_s, MAX_BACKOFF_S)

    @property
    def _address(self) -> str:
        """Where it is connected, or to be."""
        return self._addresses[self._tries % len(self._addresses)]

    async def _connect(self) -> str:
        """One call on a connection of its own: the roots may have changed. Returns why it ended."""
        try:
            channel = self._shown.open(self._address, KEEPALIVE)
        except InvalidInput as error:
            return str(error)
        async with channel:
            return await self._call(replica_pb2_grpc.ReplicaPlaneStub(channel))

    async def _call(self, stub: Any) -> str:
        """One call, start to end. Returns why it ended."""
        call = stub.Session(metadata=self._shown.metadata())
        try:
            await call.write(wire.ReplicaMessage(hello=self._peer.hello()))
            async with asyncio.timeout(WELCOME_TIMEOUT_S):
                first = await call.read()
            if first is grpc.aio.EOF:
                return self._judge(await call.code(), await call.details())
            if not await self._peer.welcome(first.welcome):
                raise LostLease("its store has forgotten the coordinator that we served; what we decoded is dropped")
            self._heartbeat_s = first.welcome.heartbeat_s or 1.0
            self._backoff_s = FIRST_BACKOFF_S
            self._said.clear()
            log.info("coordinator %s (epoch %d) has welcomed this replica", self._address, first.welcome.epoch)
            self.welcomes += 1
            self.connected.set()
            await self._exchange(call)
            return self._judge(await call.code(), await call.details())
        except grpc.aio.AioRpcError as error:
            return self._judge(error.code(), error.details() or "")
        except asyncio.InvalidStateError:  # grpc.aio: written to a call that is over
            return self._judge(await call.code(), await call.details())
        except TimeoutError:
            return f"no welcome within {WELCOME_TIMEOUT_S:g} s"
        finally:
            self.connected.clear()
            call.cancel()

    def _judge(self, code: grpc.StatusCode, details: str | None) -> str:
        if code in REFUSALS:
            raise refusal(code, f"coordinator {self._address} refuses this replica: {details}")
        if code is grpc.StatusCode.ABORTED:
            raise LostLease(f"{details}; what it decoded is dropped")
        return f"{code.name} {details or ''}".strip()

    async def _exchange(self, call: Any) -> None:
        """Read and write until one side is done; the other is then cancelled."""
        reader = asyncio.create_task(self._read(call), name="session-read")
        writer = asyncio.create_task(self._write(call), name="session-write")
        tasks = {reader, writer}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if writer.done() and not writer.exception():
                # We have said goodbye, and the server ends the call.
                await asyncio.wait({reader}, timeout=WELCOME_TIMEOUT_S)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _read(self, call: Any) -> None:
        while (message := await call.read()) is not grpc.aio.EOF:
            await self._peer.apply(message.commands)

    async def _write(self, call: Any) -> None:
        """Whatever gathered while the last write was on its way makes the next message."""
        next_heartbeat = time.monotonic()
        while not self._peer.is_done():
            if time.monotonic() >= next_heartbeat:
                next_heartbeat = time.monotonic() + self._heartbeat_s
                await call.write(wire.ReplicaMessage(heartbeat=self._peer.heartbeat()))
            if (weights := self._peer.next_weights_report()) is not None:
                await call.write(wire.ReplicaMessage(weights=weights))
                continue
            report = self._peer.next_report()
            if report is not None:
                await call.write(wire.ReplicaMessage(report=report))
                continue
            try:
                async with asyncio.timeout(max(0.0, next_heartbeat - time.monotonic())):
                    await self._peer.wake.wait()
            except TimeoutError:
                pass
        await call.write(wire.ReplicaMessage(goodbye=wire.Goodbye()))
        await call.done_writing()
