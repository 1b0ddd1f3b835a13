"""A consumer that is cancelled at any moment leaves no tree behind: the next one gets it at once, from any store."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.eventually import eventually

from treeroll.client import connect_async
from treeroll.store.base import Store
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.memory import MemoryStore
from treeroll.store.redis import RedisStore
from treeroll.testing.service import local_service

TASKS = 6


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    server: EmbeddedRedis = request.getfixturevalue("empty_redis")
    store = RedisStore(server.url)
    await store._call("FLUSHALL")
    yield store


@pytest.mark.parametrize("prefetch", [False, True])
async def test_a_consumer_that_is_cancelled_at_any_moment_leaves_no_lease(store: Store, prefetch: bool) -> None:
    async with local_service(store) as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        run = await client.create_run("r", recipe="flat", leaves=2, segment_tokens=32, max_depth=2)
        await run.submit([{"id": f"t{number}", "prompt": "Compute 1+1.\n"} for number in range(TASKS)])
        await run.close()

        async def ended() -> bool:
            return (await run.status()).ended

        async def none_leased() -> bool:
            return (await store.group_state("r", "default")).leased == 0

        await eventually(ended)
        for turn in range(40):
            batches = run.batches(trees=3, prefetch=prefetch)
            consuming = asyncio.create_task(anext(batches))
            for _ in range(turn):  # so many steps of the loop
                await asyncio.sleep(0)
            if turn % 4 == 3:
                await asyncio.sleep(turn / 4000)
            consuming.cancel()
            await asyncio.gather(consuming, return_exceptions=True)
            await batches.aclose()
            await eventually(none_leased)
        assert (await store.group_state("r", "default")).acknowledged == 0
        assert sum([len(batch.trees) async for batch in run.batches(trees=3)]) == TASKS
