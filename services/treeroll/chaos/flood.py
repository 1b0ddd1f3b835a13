"""Connections that mean no good: thousands that say nothing, hundreds that say it a byte at a time, streams without a
message. What an honest client feels of them is compared with quiet times in turns."""

import asyncio
import json
import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc.aio

from treeroll import clock
from treeroll.channels import open_channel
from treeroll.chaos.siege import Figures, Siege
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.pb.v1 import rollout_pb2_grpc

# What a client of HTTP/2 begins with: the preface, and a frame of settings without any.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
# A frame of headers that claims to be long.
LONG_FRAME = bytes((0, 0x3F, 0xFF, 1, 4, 0, 0, 0, 1))
SESSION = "/treeroll.v1.ReplicaPlane/Session"
# Of a flood, before it is measured: what comes first costs the attacker's machine, which is the service's here.
SETTLE_S = 3.0
AT_ONCE, STREAMS_OF_A_CONNECTION = 100, 100
DRIP_S = 0.5

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Flood:
    """Quiet and flooded times, in turns."""

    name: str
    quiet: list[Figures] = field(default_factory=list)
    flooded: list[Figures] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    """Connections or streams that stood at the end of each flooded time."""

    @property
    def ratio(self) -> float:
        """The honest client's p99 while flooded, over that of quiet times: medians of the rounds."""
        return _middle(self.flooded) / _middle(self.quiet)

    def text(self) -> list[str]:
        """Lines for people."""
        head = f"{self.name}: p99 of the honest client x {self.ratio:.2f} ({min(self.opened):,} stood to the end)"
        rounds = zip(self.quiet, self.flooded, strict=True)
        return [
            head,
            *(line for quiet, flooded in rounds for line in (f"  quiet: {quiet.text()}", f"  flood: {flooded.text()}")),
        ]


def _middle(figures: list[Figures]) -> float:
    return statistics.median(one.p99_ms for one in figures)


async def flood(siege: Siege, name: str, count: int, rounds: int, seconds: float) -> Flood:
    """So many quiet and flooded times of so many seconds each. TreerollError if the service ends."""
    found = Flood(f"{count:,} {name}")
    for _ in range(rounds):
        found.quiet.append(await _meanwhile(siege, seconds))
        async with FLOODS[name](siege.address, count) as standing:
            await asyncio.sleep(SETTLE_S)
            found.flooded.append(await _meanwhile(siege, seconds))
            found.opened.append(standing())
    return found


async def _meanwhile(siege: Siege, seconds: float) -> Figures:
    began = clock.monotonic()
    await asyncio.sleep(seconds)
    siege.check()
    return siege.figures(began, clock.monotonic())


@asynccontextmanager
async def _connections(address: str, count: int, first: bytes) -> AsyncIterator[list[Ends]]:
    host, _, port = address.rpartition(":")
    ends: list[Ends] = []
    try:
        while len(ends) < count:
            wanted = min(AT_ONCE, count - len(ends))
            ends += await asyncio.gather(*(asyncio.open_connection(host, int(port)) for _ in range(wanted)))
            for _, writer in ends[-wanted:]:
                writer.write(first)
        yield ends
    finally:
        for _, writer in ends:
            writer.transport.abort()


def _standing(ends: list[Ends]) -> int:
    return sum(not reader.at_eof() and not writer.is_closing() for reader, writer in ends)


@asynccontextmanager
async def _idle(address: str, count: int) -> AsyncIterator[Callable[[], int]]:
    async with _connections(address, count, PREFACE) as ends:
        yield lambda: _standing(ends)


@asynccontextmanager
async def _silent(address: str, count: int) -> AsyncIterator[Callable[[], int]]:
    async with _connections(address, count, b"") as ends:
        yield lambda: _standing(ends)


@asynccontextmanager
async def _dripping(address: str, count: int) -> AsyncIterator[Callable[[], int]]:
    """Half of them begin a frame and go on byte by byte, half send bytes by chance; who is cut off comes again."""
    dice = Random(count)  # noqa: S311 - no secret
    async with _connections(address, count, b"") as ends:
        for at, (_, writer) in enumerate(ends):
            writer.write(PREFACE + LONG_FRAME if at % 2 else dice.randbytes(8))
        dripping = asyncio.create_task(_drip(address, ends, dice))
        try:
            yield lambda: _standing(ends)
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)


async def _drip(address: str, ends: list[Ends], dice: Random) -> None:
    host, _, port = address.rpartition(":")
    while True:
        for at, (reader, writer) in enumerate(ends):
            if reader.at_eof() or writer.is_closing():
                writer.transport.abort()
                with suppress(OSError):
                    ends[at] = await asyncio.open_connection(host, int(port))
                    ends[at][1].write(PREFACE + LONG_FRAME if at % 2 else dice.randbytes(8))
            else:
                writer.write(dice.randbytes(1))
        await asyncio.sleep(DRIP_S)


@asynccontextmanager
async def _channels(address: str, calls: int) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Connections for so many calls at once."""
    async with AsyncExitStack() as stack:
        own = [("grpc.use_local_subchannel_pool", 1)]  # else all channels to an address are one connection
        wanted = -(-calls // STREAMS_OF_A_CONNECTION)
        yield [await stack.enter_async_context(open_channel(address, more=own)) for _ in range(wanted)]


@asynccontextmanager
async def _streams(address: str, count: int) -> AsyncIterator[Callable[[], int]]:
    """Sessions that never say hello."""
    async with _channels(address, count) as channels:
        calls: list[Any] = [channels[at % len(channels)].stream_stream(SESSION)() for at in range(count)]
        yield lambda: sum(not call.done() for call in calls)
        for call in calls:
            call.cancel()


@asynccontextmanager
async def _waiting(address: str, count: int) -> AsyncIterator[Callable[[], int]]:
    """Consumers of a group that wait for trees where none come."""
    stub: Any = rollout_pb2_grpc.RolloutsStub  # generated without types
    async with _channels(address, count) as channels:
        config = json.dumps({"recipe": "flat", "leaves": 2, "segment_tokens": 32, "max_depth": 2})
        await stub(channels[0]).CreateRun(api.CreateRunRequest(run_id="nothing", config_json=config))
        calls: list[Any] = [
            stub(channels[at % len(channels)]).LeaseTrees(
                api.LeaseTreesRequest(
                    run_id="nothing", group="g", consumer=str(at), max_trees=1, lease_s=60.0, wait_s=60.0
                )
            )
            for at in range(count)
        ]
        yield lambda: sum(not call.done() for call in calls)
        for call in calls:
            call.cancel()


FLOODS = {
    "idle connections": _idle,
    "silent connections": _silent,
    "dripping connections": _dripping,
    "empty streams": _streams,
    "waiting calls": _waiting,
}
