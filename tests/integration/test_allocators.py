"""Leaves by allocator through the whole service: what earlier epochs showed decides, and outlives its run."""

import re
from typing import Any

import pytest

from treeroll.client import AsyncRun, connect_async
from treeroll.client.records import TreeRecord
from treeroll.core.model.history import Record
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

RUN: dict[str, Any] = {
    "recipe": "flat", "leaves": 8, "segment_tokens": 32, "max_depth": 6, "scorer": "arith", "seed": 5,
    "allocate": {"name": "knapsack"},
}  # fmt: skip
TASKS = list(read_tasks(TASKS_FILE, limit=24))


async def grown(run: AsyncRun, epoch: int) -> list[TreeRecord]:
    """All trees of one epoch."""
    await run.submit(TASKS, epoch=epoch)
    trees: list[TreeRecord] = []
    async for batch in run.batches(trees=8):
        trees += batch.trees
        if len(trees) == len(TASKS):
            await batch.ack()
            return trees
    raise AssertionError("the run ended early")


@pytest.mark.parametrize("name", ["knapsack", "mixed", "neyman"])
async def test_the_second_epoch_gives_leaves_to_tasks_that_are_sometimes_solved_and_the_next_run_goes_on(
    name: str,
) -> None:
    settings = {**RUN, "allocate": {"name": name}}
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=64)
        run = await client.create_run("first", **settings)
        first, second = await grown(run, 0), await grown(run, 1)
        assert {tree.allotted_leaves for tree in first} == {8}
        allotted = {tree.task_id: tree.allotted_leaves for tree in second}
        assert sum(allotted.values()) == 8 * len(TASKS)
        assert min(allotted.values()) >= 2
        for tree in second:
            assert len(tree.samples) == allotted[tree.task_id]
        rates = {tree.task_id: sum(sample.reward or 0 for sample in tree.samples) / 8 for tree in first}
        sure = [allotted[task] for task, rate in rates.items() if rate == 1]
        mixed = [allotted[task] for task, rate in rates.items() if 0 < rate < 1]
        assert max(sure) < sum(mixed) / len(mixed)

        taken_over = await client.create_run("next", **settings, history_from="first")
        assert len({tree.allotted_leaves for tree in await grown(taken_over, 0)}) > 1
        stored = await service.store.load_history("next")
        assert set(stored) == {task.id for task in TASKS}
        assert all(Record.read(text).tokens > 0 for text in stored.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"history_from": "nobody"}, "history_from: run 'nobody': it has no success history"),
        ({"allocate": {}, "history_from": "x"}, "history_from is 'x', but the run has no allocator and no route"),
        ({"allocate": {"least": 2}}, "allocate has parameters (least) but no name"),
        ({"allocate": {"name": "knapsak"}}, "there is no allocate policy 'knapsak'; there is uniform, mixed, neyman"),
        ({"allocate": {"name": "knapsack", "leest": 2}}, "allocate policy 'knapsack' has no parameter 'leest'"),
        ({"allocate": {"name": "knapsack", "least": 9}}, "least 9 is above leaves 8"),
        ({"scorer": None}, "shares leaves out by how often tasks succeed, but scorer is None"),
        ({"recipe": "spo", "leaves": 216}, "allocate policy 'knapsack' gives a task 2 to 216 leaves, but"),
        ({"weight": 0}, "'weight' should be greater than or equal to 0.001, got 0"),
    ],
)
async def test_what_cannot_work_is_refused_in_one_sentence(changes: dict[str, Any], message: str) -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        with pytest.raises(InvalidInput, match=re.escape(message)) as refused:
            await client.create_run("run", **{**RUN, **changes})
        assert "\n" not in str(refused.value)
