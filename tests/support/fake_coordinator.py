"""An in-process ReplicaPlane server: records what replicas say, and says what a test wants."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass, field, fields
from types import TracebackType
from typing import Any

import grpc
import numpy as np

from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.pb.v1 import replica_pb2_grpc
from treeroll.sampling import Sampling

MESSAGE_BYTES = 64 << 20


@dataclass
class Told:
    """All that was reported for one grant."""

    segments: list[wire.Segment] = field(default_factory=list)
    nodes: list[pb.Node] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def end(self) -> wire.BranchEnd:
        return self.segments[-1].end

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)

    @property
    def sizes(self) -> list[int]:
        return [segment.tokens for segment in self.segments]


class FakeCoordinator(replica_pb2_grpc.ReplicaPlaneServicer):
    """`acknowledge=False` leaves reports unacknowledged until the test calls `ack`."""

    def __init__(
        self, acknowledge: bool = True, run_ahead: int = 1000, heartbeat_s: float = 0.2, epoch: int = 1
    ) -> None:
        self.acknowledge = acknowledge
        self.run_ahead = run_ahead
        self.heartbeat_s = heartbeat_s
        self.epoch, self.life = epoch, 0
        self.refuse: tuple[grpc.StatusCode, str] | None = None
        self.hellos: list[wire.Hello] = []
        self.beats: list[tuple[str, wire.Heartbeat]] = []
        self.reports: list[tuple[str, wire.Report]] = []
        self.weights: list[wire.WeightsReport] = []
        self.goodbyes: list[str] = []
        self.grants: dict[int, Told] = {}
        self.seen: dict[tuple[str, int], int] = {}
        self.acked: dict[tuple[str, int], int] = {}
        self.changed = asyncio.Condition()
        self._commands: dict[str, asyncio.Queue[wire.Commands | None]] = {}
        self._server: Any = None
        self.port = 0
        self._next_grant = 1

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> "FakeCoordinator":
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def beats_of(self, replica_id: str) -> list[wire.Heartbeat]:
        return [beat for replica, beat in self.beats if replica == replica_id]

    async def open(self) -> None:
        """Listen, on the same port as before if there was one."""
        options = [("grpc.max_receive_message_length", MESSAGE_BYTES), ("grpc.so_reuseport", 0)]
        self._server = grpc.aio.server(options=options)
        replica_pb2_grpc.add_ReplicaPlaneServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def close(self) -> None:
        """Break all calls and stop listening."""
        await self._server.stop(None)

    def send(self, replica_id: str, commands: wire.Commands) -> None:
        self._commands[replica_id].put_nowait(commands)

    def ack(self, replica_id: str, seq: int) -> None:
        self.send(replica_id, wire.Commands(acked_seq=seq))

    def stop(self, replica_id: str, *grants: int) -> None:
        self.send(replica_id, wire.Commands(stops=[wire.StopBranch(grant=grant) for grant in grants]))

    def start(self, replica_id: str, prefix: Iterable[int], boundaries: list[int], **more: Any) -> int:
        """Start one branch; returns its grant. `more`: fields of StartBranch and Sampling, and prompt_tokens."""
        return self.start_many(replica_id, prefix, boundaries, 1, **more)[0]

    def start_many(
        self, replica_id: str, prefix: Iterable[int], boundaries: list[int], count: int, **more: Any
    ) -> list[int]:
        """Start branches of one prefix in one message; seeds count up from `seed`."""
        ids = array("i", prefix)
        own = {field.name: more.pop(field.name) for field in fields(Sampling) if field.name in more}
        sampling = wire.Sampling(**asdict(Sampling(**own).ending_with([1])))
        seed = more.pop("seed", 0)
        more = {"prompt_tokens": len(ids), "prefix_tokens": len(ids), "cache_salt": "w0", **more}
        starts = []
        for index in range(count):
            grant = self._next_grant
            self._next_grant += 1
            self.grants[grant] = Told()
            starts.append(
                wire.StartBranch(
                    grant=grant,
                    prefix_ids=b"" if more.get("prefix_grant") else ids.tobytes(),
                    boundaries=boundaries,
                    max_total=boundaries[-1],
                    sampling=sampling,
                    seed=seed + index,
                    **more,
                )
            )
        self.send(replica_id, wire.Commands(starts=starts))
        return [start.grant for start in starts]

    async def ended(self, *grants: int, timeout_s: float = 300.0) -> list[Told]:
        """Wait until these branches have ended."""
        async with asyncio.timeout(timeout_s):
            for grant in grants:
                await self.grants[grant].ended.wait()
        return [self.grants[grant] for grant in grants]

    async def weights_reports(self, number: int, timeout_s: float = 300.0) -> list[wire.WeightsReport]:
        """The first so many answers to orders about weights, once they are here."""
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(lambda: len(self.weights) >= number)
        return self.weights[:number]

    async def hello(self, replica_id: str, incarnation: int = 1, timeout_s: float = 300.0) -> wire.Hello:
        """Wait until this incarnation has introduced itself."""

        def found() -> wire.Hello | None:
            return next((h for h in self.hellos if (h.replica_id, h.incarnation) == (replica_id, incarnation)), None)

        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(lambda: found() is not None)
        hello = found()
        assert hello is not None
        return hello

    async def Session(
        self, request_iterator: AsyncIterator[wire.ReplicaMessage], context: Any
    ) -> AsyncIterator[wire.CoordinatorMessage]:
        hello = (await anext(aiter(request_iterator))).hello
        if self.refuse is not None:
            await context.abort(*self.refuse)
        replica = (hello.replica_id, hello.incarnation)
        commands: asyncio.Queue[wire.Commands | None] = asyncio.Queue()
        self._commands[hello.replica_id] = commands
        async with self.changed:
            self.hellos.append(hello)
            self.changed.notify_all()
        yield wire.CoordinatorMessage(
            welcome=wire.Welcome(
                epoch=self.epoch,
                life=self.life,
                acked_seq=self.acked.get(replica, 0),
                heartbeat_s=self.heartbeat_s,
                run_ahead=self.run_ahead,
                incarnation=hello.incarnation or 5,
            )
        )
        reader = asyncio.create_task(self._read(replica, request_iterator, commands))
        # A None wakes this call up when the replica has ended it.
        reader.add_done_callback(lambda _: commands.put_nowait(None))
        try:
            while (next_ := await commands.get()) is not None:
                yield wire.CoordinatorMessage(commands=next_)
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(
        self,
        replica: tuple[str, int],
        messages: AsyncIterator[wire.ReplicaMessage],
        commands: "asyncio.Queue[wire.Commands | None]",
    ) -> None:
        async for message in messages:
            if message.HasField("heartbeat"):
                self.beats.append((replica[0], message.heartbeat))
            elif message.HasField("weights"):
                self.weights.append(message.weights)
            elif message.HasField("goodbye"):
                self.goodbyes.append(replica[0])
            elif message.HasField("report"):
                self._take(replica, message.report)
                if self.acknowledge:
                    self.acked[replica] = message.report.seq
                    commands.put_nowait(wire.Commands(acked_seq=message.report.seq))
            async with self.changed:
                self.changed.notify_all()

    def _take(self, replica: tuple[str, int], report: wire.Report) -> None:
        self.reports.append((replica[0], report))
        if report.seq <= self.seen.get(replica, 0):
            return
        assert report.seq == self.seen.get(replica, report.seq - 1) + 1, "a report is missing"
        self.seen[replica] = report.seq
        for segment in report.segments:
            told = self.grants[segment.grant]
            assert not told.ended.is_set(), f"grant {segment.grant} goes on after its end"
            node = pb.Node.FromString(segment.node)
            ids, logprobs = np.frombuffer(node.token_ids, "<i4").tolist(), np.frombuffer(node.logprobs, "<f4").tolist()
            assert len(ids) == len(logprobs) == segment.tokens
            assert (segment.logprob_sum, segment.logprob_min) == (sum(logprobs), min(logprobs, default=0.0))
            told.segments.append(segment)
            told.nodes.append(node)
            told.token_ids += ids
            told.logprobs += logprobs
            if segment.HasField("end"):
                told.ended.set()
