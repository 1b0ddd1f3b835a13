"""Several trainers on one service: tokens by weight while all want them, all of them for one while others are idle."""

import pytest
from tests.support.eventually import eventually

from treeroll.client import AsyncRun, connect_async
from treeroll.demo import TASKS_FILE
from treeroll.tasks import Task, read_tasks
from treeroll.testing.service import local_service

# Small trees: what is half grown at the ends of a window must not matter.
RUN = {"recipe": "treepo", "leaves": 2, "segment_tokens": 32, "max_depth": 3, "scorer": "arith"}


def tasks() -> list[Task]:
    return list(read_tasks(TASKS_FILE, limit=200))


async def spent(*runs: AsyncRun) -> list[int]:
    """Tokens of each run."""
    return [(await run.status()).ledger.spent for run in runs]


async def until_spent(tokens: int, *runs: AsyncRun) -> None:
    async def enough() -> bool:
        return sum(await spent(*runs)) >= tokens

    await eventually(enough)


async def test_weights_decide_while_both_want_the_fleet_and_nothing_is_kept_for_an_idle_run() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        light = await client.create_run("light", **RUN, weight=1.0)
        heavy = await client.create_run("heavy", **RUN, weight=3.0)
        for epoch in range(4):
            await light.submit(tasks(), epoch=epoch)
        service.start_replica("r0", slots=16)
        await until_spent(5_000, light)
        for epoch in range(4):
            await heavy.submit(tasks(), epoch=epoch)
        before = await spent(light, heavy)
        await until_spent(sum(before) + 60_000, light, heavy)
        after = await spent(light, heavy)
        for run in (light, heavy):
            assert (await run.status()).waiting > 0
        assert (after[1] - before[1]) / (after[0] - before[0]) == pytest.approx(3.0, rel=0.05)
