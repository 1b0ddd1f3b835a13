"""A coordinator with nothing to do finds out all the same that its store is another's."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.support.eventually import eventually

from treeroll.client import connect_async
from treeroll.coordinator.loop import Item
from treeroll.demo import TASKS_FILE
from treeroll.errors import BrokenInvariant, InvalidInput, StaleEpoch, TreerollError
from treeroll.generator.config import SimulatedLatency
from treeroll.invariants import Invariant
from treeroll.service import ServiceConfig, serve
from treeroll.store import keys
from treeroll.store.base import Commit, Store
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.memory import MemoryStore
from treeroll.store.redis import RedisStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 8, "max_depth": 4, "scorer": "arith"}
TASKS = 6


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


async def end_of(store: Store, work: Callable[[LocalService], Awaitable[object]]) -> BaseException:
    """What ends a service on this store, once something was done with it, or to its store."""
    ended: list[BaseException] = []

    async def has_ended(tasks: list["asyncio.Task[None]"]) -> bool:
        ended.extend(error for task in tasks if task.done() and (error := task.exception()))
        return bool(ended)

    with suppress(TreerollError):
        async with local_service(store) as service:
            service.start_replica("r0", latency=SimulatedLatency(step_s=0.002))
            await service.joined()
            await work(service)
            tasks = service.tasks[:1]
            await eventually(lambda: has_ended(tasks))
    return ended[0]


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_an_idle_owner_ends_when_another_takes_over(kind: str, server: EmbeddedRedis) -> None:
    memory = MemoryStore()
    store, newer = (memory, memory) if kind == "memory" else (RedisStore(server.url), RedisStore(server.url))
    error = await end_of(store, lambda _: newer.open())
    await newer.close()
    who = "" if kind == "memory" else f", of process {os.getpid()} on {socket.gethostname()},"
    assert isinstance(error, StaleEpoch)
    assert str(error).endswith(f" belongs to epoch 2{who} now: epoch 1 may write no more")


async def test_an_owner_that_has_work_writes_none_of_it_after_another_took_over(server: EmbeddedRedis) -> None:
    newer = RedisStore(server.url)

    async def take_over(service: LocalService) -> None:
        await newer.open()
        service.coordinator.post_nowait(Item([], extra=Commit(trees={"late": b"header"})))

    assert isinstance(await end_of(RedisStore(server.url), take_over), StaleEpoch)
    assert await newer.load_tree("late") is None
    await newer.close()


async def test_a_tree_that_is_stored_otherwise_ends_the_service_and_is_named() -> None:
    store = MemoryStore()
    named: list[str] = []

    async def mix(service: LocalService) -> None:
        async with await connect_async(service.address) as client:
            run = await client.create_run("run", **{**RUN, "max_depth": 40})
            named.extend(await run.submit(read_tasks(TASKS_FILE, limit=1)))
            store._trees[named[0]].nodes += [b"of another growth"] * 100

    error = await end_of(store, mix)
    assert isinstance(error, BrokenInvariant)
    assert error.invariant is Invariant.TREE_WELL_FORMED
    assert f" of tree {named[0]} is in the store with other content: " in str(error)


async def test_the_tick_goes_on_while_there_is_nothing_to_write(
    server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treeroll.coordinator.loop.HEARTBEAT_S", 0.02)
    with Redis.from_url(server.url, decode_responses=True) as redis:
        async with local_service(RedisStore(server.url)):
            before = redis.hgetall(keys.OWNER)

            async def has_beaten() -> bool:
                now = redis.hgetall(keys.OWNER)
                return int(now["commit"]) >= int(before["commit"]) + 3 and int(now["tick"]) > int(before["tick"])

            await eventually(has_beaten)


async def started_at_once(url: str) -> tuple[list[str], list[BaseException]]:
    """What becomes of two services that start on this store in the same instant: who serves, and how others end."""
    stop, ready = asyncio.Event(), asyncio.Queue[str]()
    services = [
        ServiceConfig.model_validate({
            "generator": {"engine": "none"}, "store": {"url": url}, "scorers": {"workers": 1},
            "coordinator": {"port": 0}, "dashboard": {"port": None},
        })
        for _ in range(2)
    ]  # fmt: skip
    tasks = [asyncio.create_task(serve(config, ready.put_nowait, stop)) for config in services]
    first = asyncio.create_task(ready.get())
    await asyncio.wait([*tasks, first], return_when=asyncio.FIRST_COMPLETED)
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    served = [await first]
    ended = [error for task in done if (error := task.exception()) is not None]
    stop.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    while not ready.empty():
        served.append(ready.get_nowait())
    return served, ended


async def test_of_two_services_that_start_in_the_same_instant_one_serves_and_the_other_is_refused_and_named(
    server: EmbeddedRedis,
) -> None:
    me = f"process {os.getpid()} on {socket.gethostname()}"
    with Redis.from_url(server.url, decode_responses=True) as redis:
        for turn in range(4):
            if turn % 2 == 0:
                redis.flushall()  # a new store; and then one whose owner is gone
            served, ended = await started_at_once(server.url)
            epoch = turn % 2 + 1
            assert len(served) == 1
            assert [str(error) for error in ended] == [
                f"{server.url} has an owner that lives, {me} (epoch {epoch}): stop that service, give this one "
                "another store (store.url), or start it with --standby to take over when the other is silent"
            ]
            assert isinstance(ended[0], InvalidInput)  # exit code 2
            assert redis.hget(keys.OWNER, "epoch") == str(epoch)
            assert set(redis.keys()) <= {keys.OWNER, keys.STATUS, keys.POINTS, keys.HAPPENINGS}
