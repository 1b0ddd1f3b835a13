"""A service that is away while its clients call it: they wait, act once, and lose nothing, however impatient."""

import asyncio
import itertools
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.eventually import eventually
from tests.support.faulty_service import Proxy, RealService

from treeroll.client import AsyncBatch, AsyncClient, AsyncRun, connect_async
from treeroll.errors import StoreDown, Unavailable
from treeroll.tasks import Task

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 16, "max_depth": 2}
NUMBERS = itertools.count()
TASKS = 4


@pytest.fixture(scope="module")
def service() -> Iterator[RealService]:
    with RealService() as service:
        yield service


@pytest.fixture
def proxy(service: RealService) -> Iterator[Proxy]:
    with Proxy(service) as proxy:
        yield proxy


@dataclass
class Scene:
    """A client, and a run of it with trees of which it holds a batch; more may be had."""

    service: RealService
    client: AsyncClient
    run: AsyncRun
    trees: list[str]
    batches: Any
    batch: AsyncBatch


def tasks(first: int, count: int) -> list[Task]:
    return [Task(f"task{number}", prompt="x") for number in range(first, first + count)]


@pytest.fixture
async def scene(service: RealService, proxy: Proxy) -> AsyncIterator[Scene]:
    async with await connect_async(proxy.address) as client:
        run = await client.create_run(f"run{next(NUMBERS)}", **RUN)
        trees = await run.submit(tasks(0, TASKS))
        await run.collect(trees)
        batches = run.batches(trees=2)
        yield Scene(service, client, run, trees, batches, await anext(batches))


async def submits(scene: Scene) -> None:
    await scene.run.submit(tasks(TASKS, 3))
    assert (await scene.run.status()).submitted == TASKS + 3


async def creates(scene: Scene) -> None:
    run = await scene.client.create_run(f"{scene.run.run_id}-other", **RUN)
    assert (await run.status()).submitted == 0


async def attaches(scene: Scene) -> None:
    assert (await (await scene.client.run(scene.run.run_id)).status()).submitted == TASKS


async def collects(scene: Scene) -> None:
    assert [tree.tree_id for tree in (await scene.run.collect(scene.trees)).trees] == scene.trees


async def acknowledges(scene: Scene) -> None:
    await scene.batch.ack()
    assert sorted(scene.service.acked(scene.run.run_id)) == sorted(tree.tree_id for tree in scene.batch.trees)


async def takes_the_next_batch(scene: Scene) -> None:
    """Which acknowledges the one before, and leases no more than it gives."""
    batch = await anext(scene.batches)
    got = [tree.tree_id for one in (scene.batch, batch) for tree in one.trees]
    assert sorted(got) == sorted(scene.trees)
    assert sorted(scene.service.acked(scene.run.run_id)) == sorted(got[:2])
    assert sorted(scene.service.leased(scene.run.run_id)) == sorted(got[2:])


async def reports_rewards(scene: Scene) -> None:
    counts = await scene.run.report_rewards([(scene.trees[0], "0", 0.5)])
    assert counts.applied + counts.repeated == 1
    node = next(node for node in (await scene.run.get_tree(scene.trees[0])).nodes if node.path == "0")
    assert [(reward.scorer, reward.value) for reward in node.rewards] == [("client", 0.5)]


async def closes_and_cancels(scene: Scene) -> None:
    await scene.run.close()
    assert (await scene.run.cancel()).state == "cancelled"


async def saves_and_loads(scene: Scene) -> None:
    """A group goes back once."""
    state = await scene.batches.state_dict()
    await scene.batches.load_state_dict(state)
    got = [tree.tree_id for _ in range(2) for tree in (await anext(scene.batches)).trees]
    assert sorted(got) == sorted(scene.trees)


async def drains(scene: Scene) -> None:
    assert (await scene.client.drain()).draining
    assert not (await scene.client.undrain()).draining


CALLS = pytest.mark.parametrize(
    "call",
    [
        submits, creates, attaches, collects, acknowledges, takes_the_next_batch, reports_rewards, closes_and_cancels,
        saves_and_loads, drains,
    ],
)  # fmt: skip


def waits(client: AsyncClient) -> Callable[[], Awaitable[object]]:
    async def check() -> bool:
        return client._channel.absence._waiting > 0

    return check


@CALLS
async def test_a_call_that_finds_nobody_waits_and_is_done_when_the_service_is_back(
    proxy: Proxy, scene: Scene, call: Callable[[Scene], Awaitable[None]]
) -> None:
    proxy.close()
    waiting = asyncio.create_task(call(scene))
    await eventually(waits(scene.client))
    proxy.open()
    await waiting


@CALLS
async def test_a_call_whose_answer_is_lost_is_sent_again_and_acts_once(
    proxy: Proxy, scene: Scene, call: Callable[[Scene], Awaitable[None]]
) -> None:
    methods = ["SubmitTasks", "CreateRun", "GetRun", "CollectTrees", "AckTrees", "LeaseTrees", "ReportRewards"]
    methods += ["CloseRun", "CancelRun", "SeekGroup", "Drain", "Undrain"]
    proxy.lost_answers = methods * 2
    await call(scene)
    assert len(proxy.lost_answers) < 2 * len(methods)


@pytest.mark.parametrize("refusal", [Unavailable("it is still starting"), StoreDown("it waits for its store")])
async def test_a_service_that_starts_or_waits_for_its_store_is_waited_for(
    proxy: Proxy, scene: Scene, refusal: Unavailable
) -> None:
    proxy.failures = [refusal] * 3
    await submits(scene)
    assert not proxy.failures


async def test_impatient_clients_are_told_in_a_sentence_and_lose_nothing(
    service: RealService, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    async with await connect_async(proxy.address) as client:
        run = await client.create_run(f"run{next(NUMBERS)}", **RUN)
        trees = await run.submit(tasks(0, TASKS))
        await run.collect(trees)
        batches = run.batches(trees=2, ack="manual")
        batch = await anext(batches)
        proxy.close()
        patience_s, client._channel.timeout_s = client._channel.timeout_s, 1.2
        caplog.set_level(logging.WARNING)
        sentence = (
            rf"^nobody answers at {proxy.address}; is `treeroll serve` running there\? \(.*\); "
            r"{} was repeated for [\d.]+ s, and may be called again$"
        )
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "SubmitTasks": lambda: run.submit(tasks(TASKS, 1)),
            "AckTrees": batch.ack,
            "LeaseTrees": lambda: anext(batches),
            "ReportRewards": lambda: run.report_rewards([(trees[0], "0", 1.0)]),
        }
        for method, call in calls.items():
            await eventually(refused(call, sentence.format(method)))
        proxy.open()
        client._channel.timeout_s = patience_s
        await batch.ack()
        assert sorted(service.acked(run.run_id)) == sorted(tree.tree_id for tree in batch.trees)
        rest = await anext(batches)
        assert sorted(tree.tree_id for one in (batch, rest) for tree in one.trees) == sorted(trees)
        await run.submit(tasks(TASKS, 1))
        assert (await run.status()).submitted == TASKS + 1


def refused(call: Callable[[], Awaitable[object]], sentence: str) -> Callable[[], Awaitable[object]]:
    """Whether a call finds nobody in this sentence. Where this process stood still meanwhile it is another one."""

    async def check() -> bool:
        with pytest.raises(Unavailable) as error:
            await call()
        return re.search(sentence, str(error.value)) is not None

    return check


async def test_connecting_waits_for_a_service_that_says_that_it_starts(proxy: Proxy) -> None:
    proxy.failures = [Unavailable("the service is still starting")] * 5
    async with await connect_async(proxy.address) as client:
        assert (await client.status()).version
    proxy.failures = [Unavailable("the service is still starting")] * 5000
    await eventually(refused(lambda: connect_async(proxy.address, connect_s=0.3), "still starting"))


async def test_connecting_waits_for_a_port_as_long_as_it_is_told(proxy: Proxy) -> None:
    proxy.close()
    connecting = asyncio.create_task(connect_async(proxy.address, connect_s=60.0))
    await asyncio.sleep(0)
    proxy.open()
    async with await connecting as client:
        assert (await client.status()).version


async def test_the_time_of_a_service_that_is_away_does_not_count_as_time_without_trees(proxy: Proxy) -> None:
    async with await connect_async(proxy.address) as client:
        now_s = 0.0
        client._channel.absence._clock = lambda: now_s
        run = await client.create_run(f"run{next(NUMBERS)}", **RUN)
        batches = run.batches(trees=1, timeout_s=0.2)
        waiting = asyncio.create_task(anext(batches))
        await eventually(lambda: asked(proxy, 1))
        proxy.close()
        await eventually(waits(client))
        now_s, before = 1.5, len(proxy.requests("LeaseTrees"))
        proxy.open()
        # Again, and then once more: it has not given up.
        await eventually(lambda: asked(proxy, before + 2))
        await run.submit(tasks(0, 1))
        assert [tree.task_id for tree in (await waiting).trees] == ["task0"]


async def asked(proxy: Proxy, times: int) -> bool:
    return len(proxy.requests("LeaseTrees")) >= times


async def test_of_several_addresses_the_one_that_serves_is_found_and_left_when_it_is_gone(service: RealService) -> None:
    with Proxy(service) as one, Proxy(service) as other:
        one.close()
        async with await connect_async(f"{one.address},{other.address}") as client:
            run = await client.create_run(f"run{next(NUMBERS)}", **RUN)
            assert one.requests("CreateRun") == []
            one.open()
            await run.submit(tasks(0, 1))
            assert one.requests("SubmitTasks") == []
            other.close()
            await run.submit(tasks(1, 1))
            assert len(one.requests("SubmitTasks")) == 1
            one.failures = [StoreDown("it waits for its store")]
            assert (await run.status()).submitted == 2  # asked again where it serves
            other.open()
