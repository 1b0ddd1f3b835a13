"""Simulated replicas in a process of their own: what loads the coordinator."""

import asyncio
import os
import time
from functools import partial
from typing import Any

import grpc

from treeroll.bench.child import answer_commands
from treeroll.bench.latency import Latencies
from treeroll.bench.load_messages import SegmentBytes
from treeroll.bench.load_replica import LoadReplica
from treeroll.channels import Pass
from treeroll.coordinator.gc_tuning import tune_gc
from treeroll.pb.v1 import replica_pb2 as wire

REPLICAS_PER_CHANNEL = 64
SESSION = "/treeroll.v1.ReplicaPlane/Session"
# Joining at the same time: more would only wait for each other.
JOINING = 32
# In one report when paced: the outbox of a replica does not fill up at half load.
PACED_SEGMENTS = 64
# Pause where a paced replica has nothing to send.
EMPTY_S = 0.001


class Load:
    """Replicas over a few channels, saturating or paced."""

    def __init__(self) -> None:
        self._latencies = Latencies()
        self._replicas: list[LoadReplica] = []
        self._channels: list[grpc.aio.Channel] = []
        self._jobs: list[asyncio.Task[None]] = []
        self._pacer: asyncio.Task[None] | None = None
        self._paced = 0  # segments sent by the pacer

    async def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """The first command joins; then "rate" changes the pace, and every command gets figures."""
        if not self._replicas:
            await self._start(**command)
        for job in [*self._jobs, *([self._pacer] if self._pacer else [])]:
            if job.done():
                await job  # raises what ended it
        if "rate" in command:
            await self._pace(command["rate"])
        trips = self._latencies.cut() if command.get("cut") else {}
        return {"cpu_s": time.process_time(), "round_trip": trips}

    async def stop(self) -> None:
        """End all sessions."""
        for job in [*self._jobs, *([self._pacer] if self._pacer else [])]:
            job.cancel()
        for channel in self._channels:
            await channel.close()

    async def _start(self, address: str, cores: list[int], passes: dict[str, dict[str, Any]], **settings: Any) -> None:
        os.sched_setaffinity(0, cores)
        tune_gc()
        parts = SegmentBytes()
        self._replicas = [LoadReplica(name, parts=parts, latencies=self._latencies, **settings) for name in passes]
        shown = [Pass(**pass_) for pass_ in passes.values()]
        for at in range(0, len(shown), REPLICAS_PER_CHANNEL):
            end = at + REPLICAS_PER_CHANNEL
            await self._join(address, self._replicas[at:end], shown[at:end])
        self._jobs = [asyncio.create_task(replica.run()) for replica in self._replicas]
        self._jobs.append(asyncio.create_task(self._beat()))

    async def _join(self, address: str, replicas: list[LoadReplica], shown: list[Pass]) -> None:
        # Else channels to one address share one connection.
        channel = shown[0].open(address, [("grpc.use_local_subchannel_pool", 1)])
        self._channels.append(channel)
        stub: Any = channel.stream_stream(
            SESSION, request_serializer=None, response_deserializer=wire.CoordinatorMessage.FromString
        )
        pairs = list(zip(replicas, shown, strict=True))
        for at in range(0, len(pairs), JOINING):
            joins = (replica.join(partial(stub, metadata=by.metadata())) for replica, by in pairs[at : at + JOINING])
            await asyncio.gather(*joins)

    async def _beat(self) -> None:
        """Heartbeats of all replicas, spread over the interval as a fleet's are."""
        pause_s = self._replicas[0].heartbeat_s / len(self._replicas)
        while True:
            for replica in self._replicas:
                await asyncio.sleep(pause_s)
                await replica.heartbeat()

    async def _pace(self, rate: float | None) -> None:
        if self._pacer is not None:
            self._pacer.cancel()
            self._pacer = None
        for replica in self._replicas:
            replica.paced = rate is not None
        if rate is None:
            for replica in self._replicas:
                await replica.saturate()
        else:
            self._pacer = asyncio.create_task(self._keep_pace(rate))

    async def _keep_pace(self, rate: float) -> None:
        """Reports at even distances, replicas in turn, whatever comes back: an open loop."""
        self._paced = 0
        began = time.monotonic()
        while True:
            for replica in self._replicas:
                due = began + self._paced / rate
                await asyncio.sleep(max(due - time.monotonic(), 0.0))
                sent = await replica.report(PACED_SEGMENTS)
                self._paced += sent
                if not sent:  # all its branches wait for acknowledgements
                    await asyncio.sleep(EMPTY_S)


async def main() -> None:
    """Load until standard input ends."""
    load = Load()
    try:
        await answer_commands(load.answer)
    finally:
        await load.stop()


if __name__ == "__main__":
    asyncio.run(main())
