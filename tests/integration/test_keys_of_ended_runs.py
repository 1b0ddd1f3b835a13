"""Every kind of key that a run has is gone once its time is over: the kinds are those of the store's own list."""

import asyncio
import inspect
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from redis import Redis
from tests.support.eventually import eventually

from treeroll.client import AsyncRun, connect_async
from treeroll.demo import TASKS_FILE
from treeroll.store import keys
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

RUN: dict[str, Any] = {
    "recipe": "treepo", "leaves": 4, "segment_tokens": 16, "max_depth": 3, "scorer": "arith",
    "allocate": {"name": "knapsack"}, "budget": {"task_tokens": 100_000},
}  # fmt: skip
GOES = "the-run-that-goes"
TASKS = 12
FAMILIES: dict[str, Callable[..., str]] = {
    name: function
    for name, function in inspect.getmembers(keys, inspect.isfunction)
    if not name.startswith("_") and function.__module__ == keys.__name__
}
# Bounded by themselves, and about the service: what they say of a run passes with time.
LOGS = {keys.STATUS, keys.POINTS, keys.TICKS, keys.HAPPENINGS}


def family_of(key: str) -> str:
    return key.removeprefix(keys.PREFIX).partition(":")[0]


def test_each_family_is_called_as_its_function_and_all_are_in_the_list() -> None:
    for name, function in FAMILIES.items():
        given = ["x"] * len(inspect.signature(function).parameters)
        assert family_of(function(*given)) == name
        assert f"    {name}:<" in (keys.__doc__ or ""), f"{name} is not in the table of keys.py"


async def all_kinds_of_keys(run: AsyncRun) -> None:
    """Use the run in every way that leaves something in the store."""
    moved = run.batches(trees=1, group="moved", ack="manual")
    batch = await anext(moved)
    state = await moved.state_dict()
    await batch.ack()
    await moved.load_state_dict(state)
    await moved.aclose()
    again = run.batches(trees=1, group="again", ack="manual")
    lost = await anext(again)
    await again.aclose()  # given back, and delivered again
    async for batch in run.batches(trees=1, group="again", ack="manual"):
        if {one.tree_id for one in batch.deliveries} == {one.tree_id for one in lost.deliveries}:
            await batch.ack()
            break
    ranks = [run.batches(trees=2, group="ranks", rank=rank, world=2, ack="manual") for rank in range(2)]
    shares = [await anext(rank) for rank in ranks]
    await shares[0].ack()
    [tree_id] = {one.tree_id for one in lost.deliveries}
    await run.report_rewards([(tree_id, "0", 1.0)], version=2, scorer="other")


def families_in(redis: "Redis") -> set[str]:
    return {family_of(key.decode()) for key in redis.scan_iter()}


def traces_of(redis: "Redis", names: list[str]) -> list[str]:
    """Keys, and fields of hashes, in which one of the names is."""
    found = []
    for key in map(bytes.decode, redis.scan_iter()):
        if key in LOGS:
            continue
        fields = redis.hkeys(key) if redis.type(key) == b"hash" else []
        for text in (key, *(field.decode(errors="replace") for field in fields)):
            if any(name in text for name in names):
                found.append(f"{key} {text}" if text != key else key)
    return found


async def test_of_a_run_whose_time_is_over_no_key_of_any_family_is_left(empty_redis: EmbeddedRedis) -> None:
    seen: set[str] = set()
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(Redis.from_url(empty_redis.url))
        async with (
            local_service(RedisStore(empty_redis.url)) as service,
            await connect_async(service.address) as client,
        ):
            service.start_replica("r0", slots=2)
            run = await client.create_run(GOES, **RUN)
            submitted = await run.submit(read_tasks(TASKS_FILE, limit=TASKS))
            await run.close()

            async def has_a_journal() -> bool:
                seen.update(families_in(redis))
                return "journal" in seen

            await eventually(has_a_journal)
            await all_kinds_of_keys(run)

            async def ended() -> bool:
                return (await run.status()).ended

            await eventually(ended)
            seen |= families_in(redis)
        # Another owner, who notes how long feeds were as it took over; and a run that stays.
        store = RedisStore(empty_redis.url)
        service = await stack.enter_async_context(local_service(store, keep_finished_s=0.5))
        client = await stack.enter_async_context(await connect_async(service.address))
        service.start_replica("r1")
        await (await client.create_run("stays", **RUN)).submit(read_tasks(TASKS_FILE, limit=1))

        async def gone() -> bool:
            return (await client.status()).deleted_runs == 1

        await eventually(gone)
        assert seen >= FAMILIES.keys(), "this test uses the run in no way that has a key of these"
        assert await asyncio.to_thread(traces_of, redis, [GOES, *submitted]) == []
        assert await asyncio.to_thread(traces_of, redis, ["stays"])
