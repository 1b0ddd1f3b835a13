"""A simulated replica: real sessions and branches, no engine. Tokens cost nothing, so it reports as fast as it may."""

import asyncio
import random
import time
from collections import deque
from typing import Any

import grpc

from treeroll.bench.latency import Latencies
from treeroll.bench.load_messages import HEARTBEAT, VARIETY, SegmentBytes, frame, hello, report_bytes
from treeroll.errors import TreerollError
from treeroll.pb.v1 import replica_pb2 as wire


class Branch:
    """A grant and how far it has come."""

    __slots__ = (
        "boundaries",
        "ends",
        "first_head",
        "grant",
        "head",
        "hold",
        "next",
        "queued",
        "total",
        "unacknowledged",
    )

    def __init__(self, start: wire.StartBranch, parts: SegmentBytes) -> None:
        self.grant = start.grant
        # A coordinator that sends the prefix itself may not say how long it is.
        self.total = (start.prefix_tokens or len(start.prefix_ids) // 4) + len(start.inserted_ids) // 4
        self.boundaries = list(start.boundaries)
        self.next = 0
        self.head = parts.head(start.grant)
        self.first_head = parts.first_head(start.grant, self.total, self.total > start.prompt_tokens)
        self.hold = start.hold
        self.ends = False
        self.unacknowledged = 0
        self.queued = False


class LoadReplica:
    """One session. Reports at most `most` segments at a time, of branches with credit in turn: in an engine, which
    decodes all of them in every step, branches that begin together reach their boundaries together.

    Saturating, it has `in_flight` reports on their way; paced, its owner calls `report` when one is due. `end_share` is
    the probability that a segment ends with EOS.
    """

    def __init__(  # noqa: PLR0913  # settings, by keyword
        self,
        replica_id: str,
        *,
        slots: int,
        block_size: int,
        max_model_len: int,
        most: int,
        in_flight: int,
        end_share: float,
        parts: SegmentBytes,
        latencies: Latencies,
    ) -> None:
        self._hello = hello(replica_id, slots, block_size, max_model_len)
        self._most = most
        self._in_flight = in_flight
        self._parts = parts
        self._track = latencies.track()
        self._random = random.Random(replica_id)  # noqa: S311 - noise, not secrets
        self._end_share = end_share
        self._branches: dict[int, Branch] = {}
        self._ready: deque[Branch] = deque()
        self._carried: dict[int, list[Branch]] = {}  # report -> branches in it, once per segment
        self._credit = 1
        self._seq = 0
        self._call: Any = None
        self._writing = asyncio.Lock()
        self.paced = False
        self.heartbeat_s = 1.0

    async def join(self, stub: Any) -> None:
        """Open the session and be welcomed."""
        self._call = stub()
        await self._call.write(self._hello)
        message = await self._call.read()
        if message is grpc.aio.EOF:
            raise TreerollError(f"the coordinator refuses the load: {await self._call.details()}")
        self._credit = message.welcome.run_ahead
        self.heartbeat_s = message.welcome.heartbeat_s

    async def run(self) -> None:
        """Serve until the session ends."""
        while (message := await self._call.read()) is not grpc.aio.EOF:
            self._apply(message.commands)
            if not self.paced:
                await self.saturate()
        raise TreerollError(f"the coordinator ended a session: {await self._call.details()}")

    async def saturate(self) -> None:
        """Report as much as may be on its way."""
        while len(self._track) < self._in_flight and await self.report():
            pass

    async def report(self, most: int | None = None) -> int:
        """Send one report of at most so many segments; returns how many there were to send."""
        chosen, frames = self._gather(most or self._most)
        if not chosen:
            return 0
        self._seq += 1
        self._carried[self._seq] = chosen
        message = report_bytes(self._seq, frames)
        self._track.sent(self._seq, time.monotonic(), len(chosen))
        await self._write(message)
        return len(chosen)

    async def heartbeat(self) -> None:
        """Say that we live."""
        await self._write(HEARTBEAT)

    async def _write(self, message: bytes) -> None:
        async with self._writing:  # gRPC takes one at a time
            await self._call.write(message)

    def _apply(self, commands: wire.Commands) -> None:
        if len(self._track):
            self._track.acknowledged(commands.acked_seq, time.monotonic())
        for seq in [seq for seq in self._carried if seq <= commands.acked_seq]:
            for branch in self._carried.pop(seq):
                branch.unacknowledged -= 1
                self._queue(branch)
        for stop in commands.stops:
            stopped = self._branches.get(stop.grant)
            if stopped is not None:
                stopped.boundaries = []
                self._queue(stopped)
        for start in commands.starts:
            branch = self._branches[start.grant] = Branch(start, self._parts)
            self._queue(branch)

    def _queue(self, branch: Branch) -> None:
        if not (branch.queued or branch.ends) and branch.unacknowledged < self._credit:
            branch.queued = True
            self._ready.append(branch)

    def _gather(self, most: int) -> tuple[list[Branch], list[bytes]]:
        ready = self._ready
        chosen: list[Branch] = []
        frames: list[bytes] = []
        while ready and len(chosen) < most:
            branch = ready.popleft()
            branch.queued = False
            self._cut(branch, frames)
            chosen.append(branch)
        for branch in chosen:  # only now: no two segments of a branch in one report
            self._queue(branch)
        return chosen, frames

    def _cut(self, branch: Branch, frames: list[bytes]) -> None:
        """Append the branch's next segment."""
        draw = self._random.random()
        end = wire.END_REASON_UNSPECIFIED
        if not branch.boundaries:
            tokens, end = 0, wire.END_REASON_STOPPED
        else:
            tokens = branch.boundaries[branch.next] - branch.total
            if branch.hold:
                end = wire.END_REASON_HOLD
            elif branch.next + 1 == len(branch.boundaries):
                end = wire.END_REASON_LENGTH
            elif draw < self._end_share:
                end = wire.END_REASON_EOS
            branch.total += tokens
            branch.next += 1
        bodies = self._parts.bodies(tokens, end)
        head, branch.first_head = branch.first_head or branch.head, b""
        frames.append(frame(head, bodies[int(draw * 1e6) % VARIETY]))
        branch.unacknowledged += 1
        if end != wire.END_REASON_UNSPECIFIED:
            branch.ends = True
            del self._branches[branch.grant]
