"""The coordinator under load, in a process of its own: the real service without replicas, plus a stop watch.

The watch wraps the replica stream from outside: a report counts as received when it is handed to the coordinator's
code, and as answered when the message that acknowledges it is handed to gRPC. The product has no hook for it.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import uvloop

from treeroll.access.config import AccessConfig
from treeroll.bench.child import answer_commands
from treeroll.bench.latency import Latencies, Track
from treeroll.config import CoordinatorConfig, StoreConfig
from treeroll.coordinator.api import RolloutsApi
from treeroll.coordinator.door import open_door
from treeroll.coordinator.fleet_plane import FleetPlane
from treeroll.coordinator.gc_tuning import tune_gc
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.malloc_tuning import tune_malloc
from treeroll.coordinator.prospects import Prospects, nobody_knows
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.coordinator.retention import Retention
from treeroll.coordinator.scoring import Scoring
from treeroll.coordinator.snapshots import Snapshots
from treeroll.demo import MODEL_DIR
from treeroll.errors import TreerollError
from treeroll.feed.feed import Feed
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.scorers.inline import InlineScorers
from treeroll.service import ServiceConfig, make_coordinator, recorder_of
from treeroll.store.factory import make_store
from treeroll.tokenizer import Tokenizer
from treeroll.tracing.config import TracingConfig


class TimedPlane(ReplicaPlane):
    """The replica plane behind a stop watch."""

    def __init__(self, coordinator: Coordinator, heartbeat_s: float, tokenizer: Tokenizer) -> None:
        super().__init__(coordinator, heartbeat_s, tokenizer, Random(1))  # noqa: S311 - no secret
        self.latencies = Latencies()
        self.segments = 0
        """Acknowledged so far."""
        self.reports = 0

    async def Session(
        self, request_iterator: AsyncIterator[wire.ReplicaMessage | None], context: Any
    ) -> AsyncIterator[wire.CoordinatorMessage]:
        """The product's session, with times taken on both sides of it."""
        track = self.latencies.track()
        async for message in super().Session(self._stamped(request_iterator, track), context):
            if message.HasField("commands"):
                self.segments += track.acknowledged(message.commands.acked_seq, time.monotonic())
            yield message

    async def _stamped(
        self, messages: AsyncIterator[wire.ReplicaMessage | None], track: Track
    ) -> AsyncIterator[wire.ReplicaMessage | None]:
        async for message in messages:
            if message is not None and message.HasField("report"):
                self.reports += 1
                track.sent(message.report.seq, time.monotonic(), len(message.report.segments))
            yield message


class Service:
    """Coordinator, feed and gRPC over a Redis that somebody else runs."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self._coordinator: Coordinator | None = None
        self._plane: TimedPlane | None = None
        self._jobs: list[asyncio.Task[None]] = []

    @property
    def coordinator(self) -> Coordinator:
        """Once it is started."""
        if self._coordinator is None:
            raise TreerollError("the service was not started")
        return self._coordinator

    async def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """The first command starts the service, every other one asks for figures."""
        if self._coordinator is None or self._plane is None:
            return await self._start(**command)
        for job in self._jobs:
            if job.done():
                await job  # raises what ended it
        trees = self._coordinator.state.trees.values()
        if command.get("count"):
            return {"live_nodes": sum(len(live.tree.nodes) for live in trees)}
        return {
            "at_s": time.monotonic(),
            "cpu_s": time.process_time(),
            "segments": self._plane.segments,
            "reports": self._plane.reports,
            "waiting_tasks": self._coordinator.state.waiting_tasks,
            "rss_bytes": resident_bytes(),
            "latency": self._plane.latencies.cut() if command.get("cut") else {},
        }

    async def _start(
        self,
        url: str,
        durability: str,
        cores: Sequence[int] = (),
        access: dict[str, Any] | None = None,
        events_mb: int = 0,
        tracing: dict[str, Any] | None = None,
        **settings: Any,
    ) -> dict[str, Any]:
        if cores:
            os.sched_setaffinity(0, cores)
        store_config = StoreConfig(events_mb=events_mb)
        config = ServiceConfig(
            coordinator=CoordinatorConfig(port=0, **settings),
            store=store_config,
            tracing=TracingConfig(**(tracing or {})),
        )
        tokenizer = Tokenizer.load(MODEL_DIR)
        tune_gc()
        tune_malloc()
        store = make_store(url, durability)
        self.stack.push_async_callback(store.close)
        timeouts: dict[str, float] = {}
        scoring = Scoring(InlineScorers(), timeouts)
        epoch = await store.open()
        recorder = recorder_of(config.tracing)
        if recorder is not None:
            self.stack.callback(recorder.stop)
        coordinator = make_coordinator(config, tokenizer, store, recorder, epoch, scoring)
        prospects = Prospects(coordinator.state)
        feed = Feed(store, prospects.outlook, prospects.terms, epoch)
        coordinator.on_emit, feed.tracer = feed.notify, coordinator.tracer
        plane = TimedPlane(coordinator, config.coordinator.heartbeat_s, tokenizer)
        rollouts = RolloutsApi(coordinator, plane, feed, tokenizer, timeouts, {}, Retention(coordinator, None))
        self._coordinator, self._plane = coordinator, plane
        door = await open_door(config.coordinator, AccessConfig(**(access or {})))
        fleets = FleetPlane(coordinator, plane, config.coordinator.heartbeat_s)
        door.answer(rollouts, plane, fleets, coordinator)
        self.stack.push_async_callback(door.close, 0.1)
        snapshots = Snapshots(coordinator, plane, scoring, {}, nobody_knows)
        for job in (coordinator.run(), coordinator.keep_time(), scoring.run(coordinator), snapshots.run()):
            self._jobs.append(asyncio.create_task(job))
            self.stack.callback(self._jobs[-1].cancel)
        return {"address": f"127.0.0.1:{door.port}"}


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def main() -> None:
    """Serve until standard input ends."""
    async with AsyncExitStack() as stack:
        await answer_commands(Service(stack).answer)


if __name__ == "__main__":
    uvloop.run(main())
