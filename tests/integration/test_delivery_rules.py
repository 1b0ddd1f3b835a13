"""What a run says of delivery, through the whole service: how far it may be ahead of its consumers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.eventually import eventually

from treeroll.client import AsyncRun, connect_async
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

TASKS = 12
RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 32, "max_depth": 4, "scorer": "arith"}


@asynccontextmanager
async def submitted(close: bool = True, **config: Any) -> AsyncIterator[tuple[LocalService, AsyncRun]]:
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        run = await client.create_run("r", **RUN, **config)
        await run.submit(read_tasks(TASKS_FILE, limit=TASKS))
        if close:
            await run.close()
        yield service, run
        assert (await client.audit()).violations == []


async def trees_of(run: AsyncRun, **options: Any) -> list[str]:
    return [tree.task_id async for batch in run.batches(**options) for tree in batch.trees]


async def stops_at(run: AsyncRun, finished: int) -> None:
    """So many trees end, and no other grows."""

    async def so_many() -> bool:
        status = await run.status()
        return status.finished == finished and status.growing == 0

    await eventually(so_many)
    assert (await run.status()).waiting == TASKS - finished


async def test_growth_stops_ahead_of_consumers_and_follows_them() -> None:
    async with submitted(ahead=4) as (_, run):
        await stops_at(run, 4)
        async with run.batches(trees=3) as batches:
            first = await anext(batches)
            await first.ack()
            await stops_at(run, 7)
        assert len(first.trees) == 3


@pytest.mark.parametrize(
    "options", [{"trees": 4}, {"trees": 1}, {"trees": 4, "prefetch": True}, {"trees": 100, "max_wait_s": 0.0}], ids=str
)
async def test_consumers_get_everything_however_little_grows_ahead(options: dict[str, Any]) -> None:
    async with submitted(ahead=4) as (_, run):
        assert len(await trees_of(run, **options)) == TASKS
        assert len(await trees_of(run, group="another", **options)) == TASKS


async def test_batches_that_would_never_be_full_are_refused() -> None:
    async with submitted(ahead=4) as (_, run):
        with pytest.raises(InvalidInput, match=r"batches of 5 trees of run 'r' would never be full: ahead is 4,"):
            await trees_of(run, trees=5)


async def test_places_are_taken_again_when_a_consumer_gives_trees_back() -> None:
    async with submitted(ahead=4) as (_, run):
        async with run.batches(trees=4) as batches:
            await anext(batches)
        await stops_at(run, 4)
        assert len(await trees_of(run, trees=2)) == TASKS


async def test_no_place_at_all_is_refused() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        with pytest.raises(InvalidInput, match="'ahead' should be greater than or equal to 1, got 0"):
            await client.create_run("r", **RUN, ahead=0)
