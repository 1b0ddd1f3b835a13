"""Fuzzed messages against a service under siege, from the client's side and from the replica's."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import grpc
import grpc.aio

from treeroll import clock
from treeroll.channels import open_channel
from treeroll.chaos import hostile_messages
from treeroll.chaos.honest_process import RUN
from treeroll.chaos.siege import Figures, Siege
from treeroll.errors import TreerollError
from treeroll.pb.v1 import replica_pb2 as wire

AT_ONCE = 32
# Hostile replicas, each with one session at a time: as many lives as it takes, since a bad word ends one.
REPLICAS, MESSAGES_OF_A_SESSION = 32, 24
# A call that waits for trees is given up, so that others have their turn.
CALL_S, SESSION_S = 2.0, 20.0
# So often what hostile clients made is deleted: it would grow for good reasons.
SWEEP_EVERY = 10_000
# What no input may come to.
FAULTS = {"UNKNOWN", "INTERNAL"}
# What the client's half of gRPC says of a call that was ended while it wrote.
LOCAL = "Internal error from Core"
MOST_SHOWN = 20
SESSION = "/treeroll.v1.ReplicaPlane/Session"


@dataclass
class Outcome:
    """What came of some messages."""

    side: str
    messages: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    """How calls ended, by status."""
    findings: list[str] = field(default_factory=list)
    """Answers that should not be, with the number and the bytes of the message that had them."""
    before: Figures | None = None
    warm: Figures | None = None
    """After a tenth of the messages: what a service makes once has been made."""
    after: Figures | None = None
    seconds: float = 0.0

    def find(self, what: str) -> None:
        """Note an answer that should not be; so many of them are kept."""
        if len(self.findings) < MOST_SHOWN:
            self.findings.append(what)

    def text(self) -> list[str]:
        """Lines for people."""
        ends = ", ".join(f"{name} {number:,}" for name, number in self.ends.most_common())
        figures = (("before", self.before), ("after a tenth", self.warm), ("after", self.after))
        return [
            f"{self.messages:,} messages from the {self.side}'s side in {self.seconds:.0f} s; calls: {ends}",
            *(f"  {when}: {found.text()}" for when, found in figures if found is not None),
        ]


async def fuzz(siege: Siege, side: str, seed: int, first: int, count: int, tell: Callable[[str], None]) -> Outcome:
    """Send `count` messages from the `first` on; `tell` hears of each tenth. TreerollError if the service ends."""
    outcome = Outcome(side)
    began = clock.monotonic()
    outcome.before = siege.figures(began - 10, began)
    numbers = iter(range(first, first + count))
    worker = _clients if side == "client" else _replicas
    tasks = [asyncio.create_task(job) for job in worker(siege, seed, numbers, outcome)]
    try:
        await _watch(siege, tasks, outcome, count, tell)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await sweep(siege)
    ended = clock.monotonic()
    outcome.after, outcome.seconds = siege.figures(began, ended), ended - began
    outcome.findings += siege.complaints()
    return outcome


async def _watch(
    siege: Siege, tasks: "list[asyncio.Task[None]]", outcome: Outcome, count: int, tell: Callable[[str], None]
) -> None:
    began, swept, tenths = clock.monotonic(), 0, 0
    while pending := [task for task in tasks if not task.done()]:
        await asyncio.wait(pending, timeout=0.5)
        siege.check()
        if (await siege.client.status()).draining:
            await siege.client.undrain()
        if outcome.messages - swept >= SWEEP_EVERY:
            swept = outcome.messages
            await sweep(siege)
        if outcome.messages >= (tenths + 1) * count / 10:
            tenths, figures = tenths + 1, siege.figures(began, clock.monotonic())
            outcome.warm = outcome.warm or figures
            tell(f"  {outcome.messages:,} messages from the {outcome.side}'s side: {figures.text()}")
    await asyncio.gather(*tasks)


async def sweep(siege: Siege) -> None:
    """Delete what hostile clients made, and take back a drain."""
    await siege.client.undrain()
    for run_id in (await siege.client.status()).run_ids:
        if run_id != RUN:
            with suppress(TreerollError):  # trees of it grow still: the next sweep has it
                await (await siege.client.run(run_id)).cancel()
                await siege.client.delete_run(run_id)


def _clients(siege: Siege, seed: int, numbers: Iterator[int], outcome: Outcome) -> Iterable[Coroutine[Any, Any, None]]:
    return (_client(siege, seed, numbers, outcome) for _ in range(AT_ONCE))


async def _client(siege: Siege, seed: int, numbers: Iterator[int], outcome: Outcome) -> None:
    async with open_channel(siege.address) as channel:
        ask: dict[str, Any] = {  # on the wire a single answer is a stream of one
            name: channel.unary_stream(f"/treeroll.v1.Rollouts/{name}") for name in hostile_messages.METHODS
        }
        for number in numbers:
            method, raw = hostile_messages.client_call(seed, number)
            end, said = "OK", ""
            try:
                async for _ in ask[method](raw, timeout=CALL_S):
                    pass
            except grpc.aio.AioRpcError as error:
                end, said = error.code().name, error.details() or ""
            outcome.messages += 1
            outcome.ends[end] += 1
            if end in FAULTS or "Traceback" in said:
                outcome.find(f"client:{number} {method} {end} {said[:300]}: {raw[:300].hex()}")


def _replicas(siege: Siege, seed: int, numbers: Iterator[int], outcome: Outcome) -> Iterable[Coroutine[Any, Any, None]]:
    return (_replica(siege, seed, f"h{place}", numbers, outcome) for place in range(REPLICAS))


async def _replica(siege: Siege, seed: int, name: str, numbers: Iterator[int], outcome: Outcome) -> None:
    async with open_channel(siege.address) as channel:
        for lives, number in enumerate(numbers, 1):
            raw = hostile_messages.hello_bytes(seed, number, name, lives)
            outcome.messages += 1
            session = _Session(channel, seed, number, outcome)
            await session.run(raw, islice(numbers, MESSAGES_OF_A_SESSION))


class _Session:
    """A call of a hostile replica."""

    def __init__(self, channel: grpc.aio.Channel, seed: int, number: int, outcome: Outcome) -> None:
        self._call: Any = channel.stream_stream(SESSION)(timeout=SESSION_S)
        self._seed, self._number, self._outcome = seed, number, outcome
        self._grants: list[wire.StartBranch] = []

    async def run(self, hello: bytes, numbers: Iterator[int]) -> None:
        """Say hello, wait for the answer, send the rest, and hear how it ends."""
        welcomed = asyncio.Event()
        reader = asyncio.create_task(self._read(welcomed))
        reader.add_done_callback(lambda _: welcomed.set())
        try:
            await self._call.write(hello)
            await welcomed.wait()
            last = self._number
            while not reader.done() and (number := next(numbers, None)) is not None:
                last = number
                self._outcome.messages += 1
                await self._call.write(hostile_messages.replica_message(self._seed, number, self._grants))
                await asyncio.sleep(0)
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it has been ended
            last = self._number
        await reader
        end, said = (await self._call.code()).name, await self._call.details()
        if said == LOCAL:
            end = "ended while it wrote"
        self._outcome.ends[end] += 1
        if end in FAULTS:
            self._outcome.find(f"replica:{self._number}-{last} {end} {said[:300]}: {hello[:300].hex()}")

    async def _read(self, welcomed: asyncio.Event) -> None:
        with suppress(grpc.aio.AioRpcError):
            while (raw := await self._call.read()) is not grpc.aio.EOF:
                message = wire.CoordinatorMessage.FromString(raw)
                self._grants.extend(message.commands.starts)
                welcomed.set()
