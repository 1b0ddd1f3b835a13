"""Nothing is told before it is durable, and what is not ours to change stays as it is."""

import asyncio
from typing import Any

import pytest
from tests.support.eventually import eventually
from tests.support.pace import halting_engine

from treeroll.client import connect_async
from treeroll.core.model.events import EndKind, SegmentReported
from treeroll.demo import TASKS_FILE
from treeroll.errors import BrokenInvariant, InvalidInput
from treeroll.store.base import Commit
from treeroll.store.memory import MemoryStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 32, "max_depth": 10, "scorer": "arith"}


class SlowStore(MemoryStore):
    """A store whose commits take a while: everything in memory is ahead of what is durable."""

    async def commit(self, commit: Commit, epoch: int) -> None:
        await asyncio.sleep(0.05)
        await super().commit(commit, epoch)


async def test_a_consumer_is_not_sent_home_while_the_last_tree_is_still_being_made_durable() -> None:
    async with local_service(SlowStore()) as service:
        service.start_replica("r0", slots=64)
        client = await connect_async(service.address)
        run = await client.create_run("run", **RUN)
        await run.submit(read_tasks(TASKS_FILE, limit=5))
        await run.close()
        got = [tree.task_id async for batch in run.batches(trees=1) for tree in batch.trees]
        assert len(got) == 5
        assert (await run.status()).finished == 5


async def test_rewards_for_a_tree_that_still_grows_are_refused() -> None:
    async with local_service() as service:
        service.serve_engine(halting_engine(3), "r0")
        client = await connect_async(service.address)
        run = await client.create_run("run", **{**RUN, "scorer": "client"})
        [tree_id] = await run.submit(read_tasks(TASKS_FILE, limit=1))

        async def has_nodes() -> bool:
            return len((await client.get_tree(tree_id)).nodes) > 1

        await eventually(has_nodes)
        with pytest.raises(InvalidInput, match="has not ended"):
            await run.report_rewards([(tree_id, "0", 1.0)])


async def test_a_replica_that_reports_a_segment_across_a_boundary_loses_its_branches_and_changes_nothing() -> None:
    async with local_service() as service:
        service.serve_engine(halting_engine(0, slots=2), "r0")
        client = await connect_async(service.address)
        run = await client.create_run("run", **RUN)
        await run.submit(read_tasks(TASKS_FILE, limit=1))
        state = service.coordinator.state

        async def granted() -> bool:
            return len(state.grants) == 2

        await eventually(granted)
        forged = SegmentReported("r0", 1, min(state.grants), 500, b"\0" * 2000, end=EndKind.LENGTH)
        with pytest.raises(BrokenInvariant, match=r"TreeWellFormed.*its boundary is"):
            await service.coordinator.call(forged)
        assert (await client.status()).violations == {"TreeWellFormed": 1}
        assert (await run.status()).ledger.spent == 0
