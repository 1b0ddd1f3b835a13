"""Consumers wait for trees that may come, as long as they said, and are told how the run stands."""

import asyncio
import math
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from tests.support.eventually import eventually

from treeroll.client import AsyncRun, connect_async, patience, stream
from treeroll.client.absence import Absence
from treeroll.core.scheduling.prospects import FAILING_TASKS
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.errors import InvalidInput, Stalled
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Delta, EngineRequest
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 32, "max_depth": 2, "scorer": "arith"}
NOTHING = r"no tree for \d+ s: run open, 0 waiting, 0 growing, 1 replicas ready$"


class Broken(SimulatedEngine):
    """Gives no number that can be."""

    def __init__(self) -> None:
        tokenizer = Detokenizer(MODEL_DIR).tokenizer
        super().__init__(tokenizer, slots=64, max_model_len=1024, latency=SimulatedLatency(step_s=0.0))

    async def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        async for delta in super().generate(request):
            delta.logprobs = [math.nan for _ in delta.logprobs]
            yield delta


async def trees_of(run: AsyncRun, seen: list[str], **options: Any) -> None:
    async for batch in run.batches(**options):
        seen += [tree.task_id for tree in batch.trees]


async def test_a_consumer_waits_for_the_first_tree_no_longer_than_it_said() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        await service.joined()
        run = await client.create_run("r", **RUN)
        with pytest.raises(Stalled, match=NOTHING):
            await trees_of(run, [], trees=2, timeout_s=0.2)


async def test_a_batch_that_does_not_become_full_is_given_back_when_time_is_over() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        await service.joined()
        run = await client.create_run("r", **RUN)
        await run.collect(await run.submit(read_tasks(TASKS_FILE, limit=1)))  # it has ended
        with pytest.raises(Stalled, match=NOTHING):
            await trees_of(run, [], trees=2, timeout_s=0.2)
        async with run.batches(trees=1) as batches:
            batch = await anext(batches)
        assert [delivery.times_delivered for delivery in batch.deliveries] == [2]


async def test_time_begins_again_with_every_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(Absence, "clock", lambda _: now)
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        await service.joined()
        run = await client.create_run("r", **RUN)
        waiting = asyncio.create_task(trees_of(run, [], trees=5, timeout_s=100.0))
        for number, task in enumerate(read_tasks(TASKS_FILE, limit=4), 1):
            now += 80.0
            await run.submit([task])

            async def came(number: int = number) -> bool:
                return (await service.store.group_state("r", "default")).leased == number

            await eventually(came)
        assert not waiting.done()

        async def over() -> bool:
            nonlocal now
            now += 101.0  # again, if it heard of the last tree since
            return waiting.done()

        await eventually(over, interval_s=0.2)
        with pytest.raises(Stalled, match=NOTHING):
            await waiting


async def test_who_waits_without_an_end_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(patience, "TOLD_EVERY_S", 0.1)
    monkeypatch.setattr(stream, "IDLE_WAIT_S", 0.1)
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        await service.joined()
        run = await client.create_run("r", **RUN, ahead=1)
        await run.submit(read_tasks(TASKS_FILE, limit=3))
        async with run.batches(trees=1) as batches:
            await anext(batches)
            waiting = asyncio.create_task(trees_of(run, [], trees=1))

            async def told_twice() -> bool:
                return len([one for one in caplog.records if one.name == patience.__name__]) > 1

            await eventually(told_twice)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    told = [record.getMessage() for record in caplog.records if record.name == patience.__name__]
    assert all("2 waiting, 0 growing" in text for text in told)
    assert all(
        text.endswith("all 1 places of ahead are taken: group 'default' has 1 trees to acknowledge") for text in told
    )


@pytest.mark.parametrize(("ahead", "trees", "taken"), [(2, 1, 2), (3, 2, 1)])
async def test_who_asks_for_more_and_acknowledges_nothing_is_told_so_and_goes_on_once_it_does(
    monkeypatch: pytest.MonkeyPatch, ahead: int, trees: int, taken: int
) -> None:
    monkeypatch.setattr(patience, "TOLD_EVERY_S", 0.1)
    monkeypatch.setattr(stream, "IDLE_WAIT_S", 0.1)
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        await service.joined()
        run = await client.create_run("r", **RUN, ahead=ahead)
        await run.submit(read_tasks(TASKS_FILE, limit=6))
        await run.close()
        async with run.batches(trees=trees, ack="manual") as batches:
            for _ in range(taken):
                batch = await anext(batches)
            with pytest.raises(Stalled, match=rf"have {ahead} trees that are not acknowledged, and .* {ahead} ahead"):
                await anext(batches)
            await batches.ack_through(batch)
            assert len((await anext(batches)).trees) == trees


async def test_a_consumer_of_an_open_run_whose_budget_is_spent_gets_what_there_is_and_is_told_at_once() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        run = await client.create_run("r", **RUN, budget_tokens=600)
        await run.submit(read_tasks(TASKS_FILE, limit=20))
        seen: list[str] = []
        with pytest.raises(
            Stalled, match=r"0 waiting, 0 growing.*the run's budget has \d+ tokens left .* raise budget_"
        ):
            await trees_of(run, seen, trees=100)
        assert len(seen) == (await run.status()).finished > 0
        await run.close()
        await trees_of(run, seen, trees=100)  # it ends by itself now


async def test_a_consumer_of_a_run_whose_tasks_all_fail_is_told_at_once() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        service.serve_engine(Broken(), "r0")
        run = await client.create_run("r", **{**RUN, "leaves": 1})
        tasks = [{"id": f"t{n}", "prompt": "Compute 1+1.\n", "answer": 2} for n in range(FAILING_TASKS)]
        await run.submit(tasks)
        with pytest.raises(
            Stalled, match=rf"the last {FAILING_TASKS} tasks all ended without a sample, .* logprob nan"
        ):
            await trees_of(run, [], trees=2)
        with pytest.raises(Stalled):  # and again: their failures are acknowledged
            await trees_of(run, [], trees=2)
        assert (await service.store.group_state("r", "default")).acknowledged == FAILING_TASKS


@pytest.mark.parametrize("timeout_s", [0, -1.0, math.nan])
async def test_a_time_that_is_none_is_refused(timeout_s: float) -> None:
    with pytest.raises(InvalidInput, match="timeout_s must be greater than 0"):
        stream.BatchOptions(timeout_s=timeout_s)
