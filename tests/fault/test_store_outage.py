"""A real Redis that falls silent, dies, or takes no writes: the service pauses and says so, then goes on."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from redis import Redis
from tests.support.eventually import eventually

from treeroll.channels import open_channel
from treeroll.chaos.redis_faults import Demoted, FullDisk, Killed, OutOfMemory, RedisFault, Silent
from treeroll.cli.main import app
from treeroll.client import AsyncClient, AsyncRun, connect_async
from treeroll.client.channel import typed
from treeroll.config import CoordinatorConfig, StoreConfig
from treeroll.coordinator.readiness import NOT_SERVING, ROLLOUTS, SERVING
from treeroll.demo import TASKS_FILE
from treeroll.errors import RETRY_METADATA_KEY, StoreDown, StoreFull, Unavailable
from treeroll.foundation import running_store
from treeroll.generator.config import SimulatedLatency
from treeroll.pb.v1 import rollout_pb2
from treeroll.pb.v1.rollout_pb2_grpc import RolloutsStub
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

TASKS, LEASE_S = 16, 2.0
# How long a silent Redis is waited for: longer than one that lives is silent on a busy machine.
SILENT_S = 5.0
RUN: dict[str, Any] = {"recipe": "flat", "leaves": 4, "segment_tokens": 8, "max_depth": 10, "scorer": "arith"}


SAID: dict[type[RedisFault], str] = {
    Silent: "does not answer",
    Killed: "does not answer",
    OutOfMemory: "is out of memory: raise its maxmemory",
    Demoted: "is a read-only replica, so it takes no writes",
    FullDisk: "cannot write its file, so it takes no writes: make room on its disk",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server
        with suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGCONT)


@asynccontextmanager
async def growing(server: EmbeddedRedis) -> AsyncIterator[tuple[LocalService, AsyncClient, AsyncRun]]:
    """A service that grows trees, of which some have ended."""
    settings = CoordinatorConfig(port=0, heartbeat_s=0.2, lease_s=LEASE_S)
    async with local_service(RedisStore(server.url, timeout_s=SILENT_S), settings) as service:
        service.start_replica("r0", slots=16, latency=SimulatedLatency(step_s=0.005))
        async with await connect_async(service.address, timeout_s=60.0) as client:
            run = await some_have_ended(client)
            yield service, client, run


async def some_have_ended(client: AsyncClient) -> AsyncRun:
    """A closed run of which some trees have ended, and others grow."""
    run = await client.create_run("run", **RUN)
    await run.submit(read_tasks(TASKS_FILE, limit=TASKS))
    await run.close()
    await eventually(lambda: has_finished(run))
    return run


async def has_finished(run: AsyncRun) -> bool:
    status = await run.status()
    assert not status.ended, "all has ended before there was a fault"
    return status.finished > 0


async def out(client: AsyncClient) -> str:
    return (await client.status()).store_outage


async def is_out(client: AsyncClient, why: str) -> bool:
    """It is first said to be silent where it is slow to say what is the matter."""
    return why in await out(client)


async def is_back(client: AsyncClient) -> bool:
    return await out(client) == ""


async def is_held_up(run: AsyncRun, why: str) -> bool:
    held_up = (await run.status()).held_up
    assert held_up.startswith("the service waits for its store: ")
    return why in held_up


async def is_refused_with_a_hint(address: str) -> None:
    """An answer comes while the store is away, although the call would wait for ever."""
    async with open_channel(address) as channel:
        stub: Any = RolloutsStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.CloseRun(rollout_pb2.CloseRunRequest(run_id="run"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(caught.value.trailing_metadata() or ())[RETRY_METADATA_KEY] == "500"
    error = typed(caught.value, address, "CloseRun")
    assert isinstance(error, StoreDown)
    assert isinstance(error, Unavailable)
    assert "the service waits for its store, for " in str(error)
    assert "and loses nothing: " in str(error)
    assert str(error).endswith("; try again in 0.5 s")


async def all_is_there_once(client: AsyncClient, run: AsyncRun) -> None:
    """Every task once, nothing granted again, no promise broken."""
    got = [tree.task_id async for batch in run.batches(trees=5) for tree in batch.trees]
    assert sorted(got) == sorted(task.id for task in read_tasks(TASKS_FILE, limit=TASKS))
    status = await run.status()
    assert (status.finished, status.failed, status.regrants) == (TASKS, 0, 0)
    assert (await client.audit()).violations == []


@pytest.mark.parametrize("fault", [kind() for kind in SAID], ids=[kind.__name__ for kind in SAID])
async def test_a_store_that_is_away_is_a_pause_after_which_all_goes_on(
    fault: RedisFault, server: EmbeddedRedis
) -> None:
    if isinstance(fault, Killed):  # with `everysec`, while its disk is busy, it lacks what it has answered for
        with Redis.from_url(server.url) as redis:
            redis.config_set("appendfsync", "always")
    async with growing(server) as (service, client, run):
        fault.begin(server)
        before = time.time()
        await eventually(lambda: is_out(client, SAID[type(fault)]))
        assert before - 60 < ((await client.status()).store_outage_since or 0.0) <= time.time()
        assert (await run.status()).submitted == TASKS
        await eventually(lambda: is_held_up(run, SAID[type(fault)]))
        live = {tree_id: len(live.tree.nodes) for tree_id, live in service.coordinator.state.trees.items()}
        await is_refused_with_a_hint(service.address)
        now = {tree_id: len(live.tree.nodes) for tree_id, live in service.coordinator.state.trees.items()}
        assert now == live
        fault.end(server)
        await all_is_there_once(client, run)
        await eventually(lambda: is_back(client))


async def test_who_submits_to_a_store_that_is_out_of_memory_is_told_at_once(server: EmbeddedRedis) -> None:
    with Redis.from_url(server.url) as redis:
        async with growing(server) as (_, client, run):
            open_run = await client.create_run("open", **RUN)
            redis.config_set("maxmemory", 1)
            await eventually(lambda: out(client))
            with pytest.raises(StoreFull, match=r"takes no tasks while its store is full: .* is out of memory"):
                await open_run.submit(read_tasks(TASKS_FILE, limit=1))
            redis.config_set("maxmemory", 0)
            await all_is_there_once(client, run)


async def test_replicas_keep_their_leases_through_an_outage_that_is_longer(server: EmbeddedRedis) -> None:
    fault = Demoted()
    async with growing(server) as (_, client, run):
        fault.begin(server)
        await eventually(lambda: out(client))

        async def outlasted() -> bool:
            return time.time() - ((await client.status()).store_outage_since or 0.0) > 1.5 * LEASE_S

        await eventually(outlasted)
        fault.end(server)
        await all_is_there_once(client, run)


async def test_calls_that_were_under_way_are_told_to_try_again_and_act_once(server: EmbeddedRedis) -> None:
    with Redis.from_url(server.url) as redis:
        async with growing(server) as (_, client, run):
            redis.config_set("maxmemory", 1)
            # Each is sent before anybody knows, is refused, and is sent again by its client until it is done.
            calls = [asyncio.create_task(client.create_run(f"run-{number}", **RUN)) for number in range(5)]
            await eventually(lambda: out(client))
            assert not any(call.done() for call in calls)
            redis.config_set("maxmemory", 0)
            await asyncio.gather(*calls)
            assert len((await client.status()).run_ids) == 6
            await all_is_there_once(client, run)


async def test_a_paused_service_is_alive_and_not_ready_and_says_why(
    server: EmbeddedRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    with Redis.from_url(server.url) as redis:
        async with growing(server) as (service, client, run), open_channel(service.address) as channel:
            stub: Any = HealthStub(channel)

            async def says(name: str) -> Any:
                return (await stub.Check(HealthCheckRequest(service=name))).status

            async def is_ready() -> bool:
                return await says(ROLLOUTS) == SERVING

            await eventually(is_ready)
            redis.config_set("maxmemory", 1)
            await eventually(lambda: out(client))
            assert (await says(""), await says(ROLLOUTS)) == (SERVING, NOT_SERVING)

            async def is_shown() -> bool:
                assert await asyncio.to_thread(app.run, ["status", "--address", service.address]) == 0
                shown = " ".join(capsys.readouterr().out.split())
                assert "waits for it since" in shown
                return "is out of memory" in shown

            await eventually(is_shown)
            redis.config_set("maxmemory", 0)
            await eventually(is_ready)
            await all_is_there_once(client, run)


async def test_an_embedded_redis_that_died_is_started_again_on_its_directory(tmp_path: Path) -> None:
    async with running_store(StoreConfig(dir=tmp_path), None) as store, local_service(store) as service:
        service.start_replica("r0", slots=16, latency=SimulatedLatency(step_s=0.005))
        async with await connect_async(service.address, timeout_s=60.0) as client:
            run = await some_have_ended(client)
            with Redis.from_url(f"unix://{tmp_path}/redis.sock") as redis:
                first = redis.info("server")["process_id"]
                os.kill(first, signal.SIGKILL)
                await all_is_there_once(client, run)
                assert redis.info("server")["process_id"] != first
