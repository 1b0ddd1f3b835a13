"""What a run says of delivery, through the whole service: how far it may be ahead of its consumers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
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
        run = await client.create_run("r", **{**RUN, **config})
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


@pytest.mark.parametrize("ranks", [{}, {"rank": 0, "world": 1}], ids=["leases", "shares"])
async def test_trees_that_are_too_old_do_not_keep_a_batch_from_becoming_full(ranks: dict[str, int]) -> None:
    async with submitted(ahead=2, max_staleness=0) as (service, run):
        await stops_at(run, 2)
        weights = service.coordinator.state.pools[""].weights
        weights.current = replace(weights.current, version=1)  # as if they had been published
        batches = [batch async for batch in run.batches(trees=2, allow_empty=True, **ranks)]
        assert sum(len(batch.trees) + len(batch.failures) for batch in batches) == TASKS
        assert (await run.status()).withheld >= 2


async def test_tasks_that_no_model_of_several_began_are_delivered() -> None:
    async with local_service(pools=["one", "two"]) as service, await connect_async(service.address) as client:
        run = await client.create_run("r", **RUN, model="two")
        ids = await run.submit(read_tasks(TASKS_FILE, limit=2))
        await run.cancel()
        failures = [failure async for batch in run.batches(allow_empty=True) for failure in batch.failures]
        assert sorted(failure.tree_id for failure in failures) == sorted(ids)
        assert len((await run.collect(ids)).failures) == 2


async def test_no_place_at_all_is_refused() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        with pytest.raises(InvalidInput, match="'ahead' should be greater than or equal to 1, got 0"):
            await client.create_run("r", **RUN, ahead=0)


def by_length(prompt: str, completion: str, answer: str | None, extra: dict[str, Any]) -> float | None:
    """Equal for all leaves of every third task, and nothing for those of another third."""
    kind = sum(map(ord, prompt)) % 3
    return None if kind == 0 else 1.0 if kind == 1 else float(len(completion))


SCORED = {**RUN, "leaves": 4, "scorer": f"python:{__name__}:by_length"}


def kinds(task_ids: list[str]) -> list[int]:
    prompts = {task.id: task.prompt or "" for task in read_tasks(TASKS_FILE, limit=TASKS)}
    return [sum(map(ord, prompts[task_id])) % 3 for task_id in task_ids]


@pytest.mark.parametrize("ahead", [None, 2])
async def test_dropped_trees_count_for_no_batch_and_end_like_failures(ahead: int | None) -> None:
    config: dict[str, Any] = {**SCORED, "drop": "zero_advantage", "min_scored": 1, "ahead": ahead}
    async with submitted(**config) as (_, run):
        batches = [batch async for batch in run.batches(trees=2, allow_empty=True)]
        given = [tree.task_id for batch in batches for tree in batch.trees]
        failures = {failure.task_id: failure for batch in batches for failure in batch.failures}
        assert set(kinds(given)) == {2}
        assert sorted([*given, *failures]) == sorted(task.id for task in read_tasks(TASKS_FILE, limit=TASKS))
        assert {failure.status for failure in failures.values()} == {"filtered"}
        assert all(len(batch.trees) == 2 for batch in batches[:-1])  # refilled
        status = await run.status()
        counted = kinds(list(failures))
        assert status.filtered == {"min_scored": counted.count(0), "zero_advantage": counted.count(1)}
        assert (status.finished, status.failed, status.waiting, status.growing) == (len(given), 0, 0, 0)
        one = next(iter(failures.values()))
        assert one.error.startswith("dropped by ")
        kept = await run.get_tree(one.tree_id)
        assert (kept.status, len(kept.samples)) == ("filtered", 4)
        told = next(tree for batch in batches for tree in batch.failed_trees if tree.tree_id == one.tree_id)
        assert (told.status, told.samples, len(told.nodes), told.prompt_text) == ("filtered", [], 1, kept.prompt_text)
        assert told.ledger.spent == kept.ledger.spent > 0
        assert [failure.status for failure in (await run.collect([one.tree_id])).failures] == ["filtered"]


async def test_a_batch_names_the_trees_that_teach_something() -> None:
    async with submitted(**SCORED) as (_, run):
        async for batch in run.batches(trees=TASKS):
            assert len(batch.trees) == TASKS
            assert set(kinds([tree.task_id for tree in batch.trainable])) == {2}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            {"drop": ["zero_advantage"], "scorer": "client"},
            "drop drops trees by their rewards, but scorer is 'client',",
        ),
        ({"min_scored": 1, "scorer": None}, "min_scored drops trees by their rewards, but scorer is None,"),
        ({"min_scored": 3}, "min_scored is 3, but no tree has more than 2 leaves, so all would be dropped"),
        ({"order": "window"}, "order is 'window', window is None: set both"),
        ({"window": 2}, "order is 'fifo', window is 2: set both"),
        ({"order": "window", "window": 2}, "order is 'window', but ahead is not set"),
        ({"drop": ["boring"]}, "'drop.0' should be 'zero_advantage' or 'truncated', got 'boring'"),
    ],
)
async def test_settings_that_cannot_work_are_refused_by_name(config: dict[str, Any], sentence: str) -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        with pytest.raises(InvalidInput, match=sentence):
            await client.create_run("r", **{**RUN, **config})


@pytest.mark.parametrize("window", [1, 3])
async def test_trees_come_in_the_order_of_their_tasks_but_for_the_window(window: int) -> None:
    async with submitted(order="window", window=window, ahead=6, leaves=4) as (_, run):
        seen = await trees_of(run, trees=2)
        places = [int(name.rpartition("-")[2]) for name in seen]
        left: set[int] = set()
        for place in places:
            head = min(set(places) - left)
            assert sorted(places).index(place) < sorted(places).index(head) + window
            left.add(place)
        assert len(left) == TASKS


async def test_a_route_and_an_order_are_refused_together() -> None:
    async with local_service(pools=["one", "two"]) as service, await connect_async(service.address) as client:
        route = {"name": "threshold", "small": "one", "large": "two", "success": 1.0}
        with pytest.raises(InvalidInput, match="order is 'window' and route shares the run's tasks out"):
            await client.create_run("r", **RUN, order="window", window=2, ahead=4, route=route)
