"""Trees by name: in the order asked, before others, and beside the groups of their run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.eventually import eventually

import treeroll
from treeroll.client import AsyncClient, AsyncRun, connect_async
from treeroll.config import CoordinatorConfig
from treeroll.demo import TASKS_FILE
from treeroll.errors import Drained, InvalidInput, Stalled, UnknownRun, UnknownTree
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service, running_service

TASKS = list(read_tasks(TASKS_FILE, limit=12))
RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 32, "max_depth": 4, "scorer": "arith"}
ONE_TREE = CoordinatorConfig(port=0, heartbeat_s=0.2, lease_s=2.0, live_trees=1)


@asynccontextmanager
async def submitted(
    coordinator: CoordinatorConfig | None = None, **config: Any
) -> AsyncIterator[tuple[LocalService, AsyncClient, AsyncRun, list[str]]]:
    async with local_service(coordinator=coordinator) as service, await connect_async(service.address) as client:
        run = await client.create_run("r", **RUN, **config)
        ids = await run.submit(TASKS)
        service.start_replica("r0")
        yield service, client, run, ids
        assert (await client.audit()).violations == []


def names(batch: Any) -> list[str]:
    return [tree.tree_id for tree in batch.trees]


async def test_trees_come_in_the_order_asked_and_samples_with_them() -> None:
    async with submitted() as (_, _, run, ids):
        asked = [ids[7], ids[2], ids[11]]
        batch = await run.collect(asked)
        assert names(batch) == asked
        assert [sample.tree_id for sample in batch.samples] == [name for name in asked for _ in range(2)]
        assert names(await run.collect(asked)) == asked  # as often as one likes


async def test_trees_that_are_asked_for_start_before_others_and_however_far_ahead_the_run_is() -> None:
    async with submitted(ONE_TREE, ahead=2) as (_, _, run, ids):
        assert names(await run.collect([ids[9], ids[8]])) == [ids[9], ids[8]]
        assert (await run.status()).waiting >= len(TASKS) - 5

        async def two_more() -> bool:
            return (await run.status()).finished == 4

        await eventually(two_more)
        assert names(await run.collect(ids)) == ids  # many more than ahead


async def test_groups_receive_what_was_collected_and_acknowledge_for_themselves() -> None:
    async with submitted() as (service, _, run, ids):
        await run.close()
        collected = await run.collect(ids[:3])
        await collected.ack()
        await collected.release()
        assert await service.store.group_names("r") == []
        seen = [tree.tree_id async for batch in run.batches(trees=5) for tree in batch.trees]
        assert sorted(seen) == sorted(ids)


async def test_a_tree_that_ended_takes_no_place_once_it_was_collected() -> None:
    async with submitted(ahead=2) as (_, _, run, ids):

        async def finished(count: int) -> None:
            async def so_many() -> bool:
                status = await run.status()
                return status.finished == count and not status.growing

            await eventually(so_many)

        await finished(2)
        await run.collect(ids[:2])
        await finished(4)


async def test_generate_gives_the_trees_of_its_tasks_and_the_same_ones_again() -> None:
    async with submitted() as (_, _, run, ids):
        again = await run.generate(TASKS[3:5])
        assert names(again) == ids[3:5]
        other = await run.generate(TASKS[3:5], 60, epoch=1)
        assert [tree.task_id for tree in other.trees] == [task.id for task in TASKS[3:5]]
        assert not set(names(other)) & set(ids)


def test_a_synchronous_trainer_asks_for_its_prompts() -> None:
    with running_service(replicas=2) as address, treeroll.connect(address) as client:
        run = client.create_run("r", **RUN)
        batch = run.generate(TASKS[:4])
        assert [tree.task_id for tree in batch.trees] == [task.id for task in TASKS[:4]]
        assert batch.to_numpy()["advantages"].any()
        batch.report_rewards([0.5] * len(batch.samples), scorer="arith", version=2)
        assert {sample.reward for sample in batch.samples} == {0.5}
        assert names(run.collect([tree.tree_id for tree in batch.trees][::-1])) == names(batch)[::-1]
        assert len(run.collect([])) == 0


async def test_tasks_without_a_sample_are_failures() -> None:
    async with submitted(budget={"tree_tokens": 1}) as (_, _, run, ids):
        batch = await run.collect(ids[:3])
        assert [failure.tree_id for failure in batch.failures] == ids[:3]
        assert not batch.trees


async def test_what_cannot_come_is_said() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        run = await client.create_run("r", **RUN)
        (tree_id, *_) = await run.submit(TASKS[:2])
        with pytest.raises(Stalled, match=r"none of 1 trees asked for came for 0 s: run open, 2 waiting, 0 growing"):
            await run.collect([tree_id], timeout_s=0.1)
        with pytest.raises(UnknownTree, match="run 'r' has no tree 'nobody'"):
            await run.collect(["nobody"])
        with pytest.raises(InvalidInput, match="an id twice"):
            await run.collect([tree_id, tree_id])
        with pytest.raises(InvalidInput, match="put a single one in a list"):
            await run.collect(tree_id)
        other = await client.create_run("other", **RUN)
        with pytest.raises(UnknownTree, match=f"run 'other' has no tree '{tree_id}'"):
            await other.collect([tree_id])
        waiting = asyncio.create_task(run.collect([tree_id]))
        await client.drain()
        with pytest.raises(Drained, match="none of the trees asked for grows until"):
            await waiting
        await client.undrain()
        await run.cancel()
        failed = await run.collect([tree_id])
        assert [failure.error for failure in failed.failures] == ["the run was cancelled before this task started"]
        await client.delete_run("r")
        with pytest.raises(UnknownRun):
            await run.collect([tree_id])
