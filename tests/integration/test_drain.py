"""A service that drains: consumers get what still ends and are then told, instead of waiting for what does not come."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.support.eventually import eventually
from tests.support.rollouts import rollout

from treeroll.client import AsyncClient, AsyncRun, connect_async
from treeroll.config import CoordinatorConfig
from treeroll.demo import TASKS_FILE
from treeroll.errors import Drained, TreerollError
from treeroll.results.directory import Mode
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

TASKS = 30
RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 32, "max_depth": 4, "scorer": "arith"}
# Few trees at once, so that most tasks wait.
NARROW = CoordinatorConfig(port=0, heartbeat_s=0.2, lease_s=2.0, live_trees=2)


@asynccontextmanager
async def half_grown(close: bool = True) -> AsyncIterator[tuple[LocalService, AsyncClient, AsyncRun]]:
    """A service that was told to drain after some trees of 30 had ended."""
    async with local_service(coordinator=NARROW) as service, await connect_async(service.address) as client:
        run = await client.create_run("r", **RUN)
        await run.submit(read_tasks(TASKS_FILE, limit=TASKS))
        if close:
            await run.close()
        service.start_replica("r0", slots=4)

        async def some_ended() -> bool:
            return (await run.status()).finished >= 5

        await eventually(some_ended)
        await client.drain()
        yield service, client, run


async def consume(run: AsyncRun, seen: list[str], **options: Any) -> None:
    async for batch in run.batches(**options):
        seen += [tree.task_id for tree in batch.trees]


async def told(run: AsyncRun, **options: Any) -> list[str]:
    """Tasks whose trees came before the iterator said that the service drains."""
    seen: list[str] = []
    with pytest.raises(Drained, match=r"the service drains: \d+ tasks of run 'r' wait and are not grown"):
        await consume(run, seen, **options)
    return seen


@pytest.mark.parametrize(
    "options", [{"trees": 4}, {"trees": 100}, {"trees": 3, "prefetch": True}, {"trees": 1}], ids=str
)
@pytest.mark.parametrize("close", [True, False], ids=["closed", "open"])
async def test_a_consumer_gets_all_that_ended_and_is_then_told(close: bool, options: dict[str, Any]) -> None:
    async with half_grown(close) as (_, _, run):
        seen = await told(run, **options)
        status = await run.status()
        assert len(seen) == len(set(seen)) == status.finished
        assert status.drained
        assert status.waiting == TASKS - status.finished > 0
        assert await told(run, **options) == []  # and again, whoever asks
        assert len(await told(run, group="another", **options)) == status.finished


async def test_a_consumer_that_waits_already_is_told() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        run = await client.create_run("r", **RUN)
        await run.submit(read_tasks(TASKS_FILE, limit=3))
        waiting = asyncio.create_task(told(run, trees=2))

        async def asked() -> bool:
            return (await service.store.group_state("r", "default")).acknowledged == 0 and not waiting.done()

        await eventually(asked)
        await client.drain()
        async with asyncio.timeout(300):
            assert await waiting == []


async def test_what_waits_is_grown_when_the_drain_is_taken_back() -> None:
    async with half_grown() as (_, client, run):
        seen = await told(run, trees=4)
        assert not (await client.undrain()).draining
        assert not (await run.status()).drained
        await consume(run, seen, trees=4)
        assert sorted(seen) == sorted(task.id for task in read_tasks(TASKS_FILE, limit=TASKS))
        assert (await run.status()).ended
        assert (await client.audit()).violations == []


async def test_nobody_is_told_while_another_consumer_may_give_trees_back() -> None:
    async with half_grown() as (service, _, run):
        async with run.batches(trees=1) as one:
            await anext(one)
            other = asyncio.create_task(told(run, trees=1))

            async def only_one_is_left() -> bool:
                acknowledged = (await service.store.group_state("r", "default")).acknowledged
                return acknowledged == (await run.status()).finished - 1 and not (await run.status()).growing

            await eventually(only_one_is_left)
            assert not other.done()
        assert len(await other) == (await run.status()).finished  # given back, it came to the other one


async def test_a_run_that_has_ended_ends_as_ever() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        run = await client.create_run("r", **RUN)
        await run.submit(read_tasks(TASKS_FILE, limit=3))
        await run.close()

        async def ended() -> bool:
            return (await run.status()).ended

        await eventually(ended)
        await client.drain()
        assert not (await run.status()).drained
        seen: list[str] = []
        await consume(run, seen, trees=2)
        assert len(seen) == 3


async def test_a_run_that_is_cancelled_while_the_service_drains_ends() -> None:
    async with half_grown() as (_, _, run):
        await run.cancel()
        batches = [batch async for batch in run.batches(trees=4, allow_empty=True)]
        ended = sum(len(batch.trees) + len(batch.failures) for batch in batches)
        assert ended == TASKS
        assert not (await run.status()).drained


async def test_a_rollout_is_told_too_and_goes_on_where_the_drain_is_taken_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with local_service(coordinator=NARROW) as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=4)
        working = asyncio.create_task(rollout(service, out, limit=TASKS, **RUN))

        async def some_ended() -> bool:
            runs = service.coordinator.state.runs.values()
            return any(run.finished >= 5 for run in runs)

        await eventually(some_ended)
        await client.drain()
        with pytest.raises(TreerollError, match=r"tasks of run 'out-.* wait and are not grown.*--resume goes on"):
            await working
        written = {row["task_id"] for row in rows(out)}
        assert 5 <= len(written) < TASKS
        await client.undrain()
        assert await rollout(service, out, limit=TASKS, mode=Mode.RESUME, **RUN) == 0
        assert len({row["task_id"] for row in rows(out)}) == TASKS


def rows(out: Path) -> list[dict[str, Any]]:
    """Samples written so far, in parts or whole."""
    whole = out / "samples.parquet"
    files = [whole] if whole.exists() else sorted((out / "parts").glob("samples*"))
    return [row for file in files for row in pq.read_table(file, columns=["task_id"]).to_pylist()]
