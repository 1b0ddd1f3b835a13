"""Who needs the store to go on waits for it, whatever was asked of it; who calls is told, and acts once or never."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.support.eventually import eventually

from treeroll.client import AsyncClient, connect_async
from treeroll.config import CoordinatorConfig
from treeroll.coordinator import outage as outages
from treeroll.coordinator.loop import Coordinator, Item
from treeroll.coordinator.outage import Outage
from treeroll.core.model.events import Drained, Ticked
from treeroll.demo import TASKS_FILE
from treeroll.errors import (
    BrokenInvariant,
    StaleEpoch,
    StoreDown,
    StoreError,
    TreerollError,
    Unavailable,
    UnknownRun,
    grpc_code,
)
from treeroll.generator.config import SimulatedLatency
from treeroll.invariants import Invariant
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.base import Commit
from treeroll.store.memory import MemoryStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 4, "segment_tokens": 8, "max_depth": 10, "scorer": "arith"}


class Weather:
    """Answers that come in turn, and the pauses that are made between them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.pauses: list[float] = []
        real = asyncio.sleep

        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)
            await real(0)

        monkeypatch.setattr(outages.asyncio, "sleep", sleep)

    async def ask(self) -> str:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def lose_patience(client: AsyncClient) -> None:
    """From here on it asks for a second: it gets no answer that it could take for one, however long it asks."""
    client._channel.timeout_s = 1.0


async def test_an_owner_that_was_held_up_does_not_deny_what_another_may_have_taken() -> None:
    store = MemoryStore()
    async with local_service(store) as service:
        async with await connect_async(service.address) as client:
            with pytest.raises(UnknownRun):
                await client.run("r")
            await store.open()  # another takes over, and this one has not heard of it
            lose_patience(client)
            with pytest.raises(Unavailable):
                await client.run("r")
        with pytest.raises(StaleEpoch):
            await service.tasks[0]
        service.tasks[0] = asyncio.create_task(asyncio.sleep(0))


@pytest.mark.parametrize("ask", ["drain", "undrain"])
async def test_an_owner_that_was_held_up_drains_for_nobody(ask: str) -> None:
    store = MemoryStore()
    async with local_service(store) as service:
        async with await connect_async(service.address) as client:
            await store.open()  # another takes over, and this one has not heard of it
            lose_patience(client)
            with pytest.raises(Unavailable):
                await getattr(client, ask)()
        with pytest.raises(StaleEpoch):
            await service.tasks[0]
        service.tasks[0] = asyncio.create_task(asyncio.sleep(0))


async def test_an_owner_that_was_held_up_says_of_nothing_that_it_is_done_already() -> None:
    """Its store may have been emptied since, and another have begun."""
    store = MemoryStore()
    async with local_service(store) as service:
        async with await connect_async(service.address) as client:
            await client.create_run("r", **RUN)
            await store.open()
            lose_patience(client)
            with pytest.raises(Unavailable):
                await client.create_run("r", **RUN)
        with pytest.raises(StaleEpoch):
            await service.tasks[0]
        service.tasks[0] = asyncio.create_task(asyncio.sleep(0))


OF_A_GROUP = {"run_id": "r", "group": "g"}
A_MOMENT = {**OF_A_GROUP, "wait_s": 0.1}
ANSWERS = {
    "OpenGroup": api.OpenGroupRequest(**OF_A_GROUP),
    "SeekGroup": api.SeekGroupRequest(**OF_A_GROUP, move_id="m"),
    "LeaseTrees": api.LeaseTreesRequest(**A_MOMENT, consumer="c", max_trees=1, lease_s=60.0),
    "LeaseBatch": api.LeaseBatchRequest(**A_MOMENT, world=1, trees=1),
}


@pytest.mark.parametrize("method", ANSWERS)
async def test_an_owner_that_was_held_up_says_of_no_group_where_it_stands_nor_that_it_has_everything(
    method: str,
) -> None:
    """A run of that name may be another one at the owner that has taken over, or this one never was durable."""
    store = MemoryStore()
    async with local_service(store) as service:
        async with await connect_async(service.address) as client:
            run = await client.create_run("r", **RUN)
            await run.close()
            request = ANSWERS[method]
            if isinstance(request, api.SeekGroupRequest):
                request.run_created = service.coordinator.state.runs["r"].created
            await store.open()
            lose_patience(client)
            with pytest.raises(Unavailable):
                await client._channel.call(method, request, api.GroupPosition)
        with pytest.raises(StaleEpoch):
            await service.tasks[0]
        service.tasks[0] = asyncio.create_task(asyncio.sleep(0))


async def test_it_is_asked_again_after_pauses_that_double_up_to_half_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    weather = Weather(monkeypatch, *[StoreDown("away")] * 7, "back")
    assert await Outage().ride_out(weather.ask) == "back"
    assert weather.pauses == [0.1, 0.2, 0.4, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("answers", [0, 3])
@pytest.mark.parametrize(
    "error", [StaleEpoch("newer"), StoreError("lost"), BrokenInvariant(Invariant.TREE_WELL_FORMED, "hole")]
)
async def test_an_answer_that_is_no_outage_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch, error: TreerollError, answers: int
) -> None:
    weather, outage = Weather(monkeypatch, *[StoreDown("away")] * answers, error), Outage()
    with pytest.raises(type(error)):
        await outage.ride_out(weather.ask)
    assert outage.since is None


async def test_it_lasts_until_the_last_one_who_waits_has_its_answer_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outage, told = Outage(), []
    outage.on_change.append(lambda: told.append((outage.since is not None, outage.reason)))
    long, short = (
        Weather(monkeypatch, *[StoreDown("takes no writes")] * 9, "w"),
        Weather(monkeypatch, StoreDown("x"), "r"),
    )
    waits = asyncio.create_task(outage.ride_out(long.ask))
    assert await outage.ride_out(short.ask) == "r"
    assert outage.reason == "takes no writes"
    assert await waits == "w"
    assert [since for since, _ in told] == [True, False]
    assert outage.reason == ""


async def test_who_is_cancelled_does_not_leave_an_outage_behind() -> None:
    outage, begun = Outage(), asyncio.Event()
    outage.on_change.append(begun.set)

    async def ask() -> None:
        raise StoreDown("away")

    waits = asyncio.create_task(outage.ride_out(ask))
    await begun.wait()
    assert outage.since is not None
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    assert outage.since is None


def test_a_store_that_is_down_is_both_a_store_error_and_something_to_try_again() -> None:
    assert issubclass(StoreDown, StoreError)
    assert issubclass(StoreDown, Unavailable)
    assert grpc_code(StoreDown("away")) == "UNAVAILABLE"


class FlakyStore(MemoryStore):
    """Is away for so many calls, by method. A commit of tree "sent" is `asked` for and waits until it `answers`."""

    def __init__(self) -> None:
        super().__init__()
        self.away: Counter[str] = Counter()
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    def _try(self, method: str) -> None:
        if self.away[method]:
            self.away[method] -= 1
            raise StoreDown(f"{method}: the store is away")

    async def commit(self, commit: Commit, epoch: int) -> None:
        if "sent" in commit.trees:
            self.asked.set()
            await self.answers.wait()
        self._try("commit")
        await super().commit(commit, epoch)

    async def load_nodes(self, paths: list[tuple[str, list[int]]]) -> list[list[bytes]]:
        self._try("load_nodes")
        return await super().load_nodes(paths)


@pytest.mark.parametrize(
    ("method", "scorer"),
    [("commit", "arith"), ("load_nodes", "arith"), ("load_nodes", None)],
    ids=["commits", "reads for scoring", "prefixes that move"],
)
async def test_whatever_growth_needs_of_the_store_is_waited_for(method: str, scorer: str | None) -> None:
    store = FlakyStore()
    async with local_service(store) as service, await connect_async(service.address) as client:
        lost = service.start_replica("r0", slots=8, latency=SimulatedLatency(step_s=0.002))
        service.start_replica("r1", slots=8, latency=SimulatedLatency(step_s=0.002))
        await service.joined()
        run = await client.create_run("run", **{**RUN, "scorer": scorer})
        await run.submit(read_tasks(TASKS_FILE, limit=8))
        await run.close()

        async def grows() -> bool:
            return any(len(live.tree.nodes) > 8 for live in service.coordinator.state.trees.values())

        await eventually(grows)
        store.away[method] = 3
        lost.cancel()  # its branches move, and their prefixes are read
        service.lose("r0", 1)
        got = [tree async for batch in run.batches(trees=4) for tree in batch.trees]
        assert len(got) == 8
        if scorer:
            assert all(sample.reward is not None for tree in got for sample in tree.samples)
        assert store.away[method] == 0
        assert (await client.audit()).violations == []


async def test_reads_are_answered_with_what_is_durable_while_a_commit_is_on_its_way() -> None:
    store = FlakyStore()
    async with local_service(store) as service, await connect_async(service.address) as client:
        run = await client.create_run("run", **RUN)
        await run.submit(read_tasks(TASKS_FILE, limit=2))
        sent = asyncio.create_task(service.coordinator.call(extra=Commit(trees={"sent": b"header"})))
        await store.asked.wait()
        submitting = asyncio.create_task(run.submit(read_tasks(TASKS_FILE, limit=5)))
        creating = asyncio.create_task(client.create_run("new", **RUN))
        status = await run.status()
        assert status.submitted == 2
        assert status.held_up == "the service waits for its store: it has not answered the last commit yet"
        assert [call.done() for call in (submitting, creating)] == [False, False]
        store.answers.set()
        await asyncio.gather(sent, submitting, creating)
        assert (await run.status()).submitted == 5
        assert (await run.status()).held_up == ""


async def test_readers_are_told_what_another_owner_made_durable() -> None:
    store = FlakyStore()
    async with local_service(store) as service, await connect_async(service.address) as client:
        run = await client.create_run("run", **RUN)
        await run.submit(read_tasks(TASKS_FILE, limit=2))
    async with local_service(store) as service, await connect_async(service.address) as client:
        sent = asyncio.create_task(service.coordinator.call(extra=Commit(trees={"sent": b"header"})))
        await store.asked.wait()
        run = await client.run("run")
        assert (await run.status()).submitted == 2
        assert (await run.status()).held_up.startswith("the service waits for its store")
        store.answers.set()
        await sent


async def test_a_call_that_waits_when_an_outage_begins_is_refused_and_does_nothing_afterwards() -> None:
    store = FlakyStore()
    async with local_service(store) as service:
        coordinator = service.coordinator
        sent = asyncio.create_task(coordinator.call(extra=Commit(trees={"sent": b"header"})))
        await store.asked.wait()
        store.away["commit"] = 1_000_000
        waiting = asyncio.create_task(coordinator.call(Drained()))
        await asyncio.sleep(0)  # it is in the inbox
        store.answers.set()
        results = await asyncio.gather(sent, waiting, return_exceptions=True)
        assert [type(result) for result in results] == [StoreDown, StoreDown]
        with pytest.raises(StoreDown, match="the service waits for its store"):
            await coordinator.call(Drained())
        store.away.clear()

        async def is_over() -> bool:
            return coordinator.outage.since is None

        await eventually(is_over)
        await coordinator.call()
        assert await store.load_tree("sent") is not None
        assert not coordinator.state.draining


async def test_time_stands_still_for_replicas_while_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CoordinatorConfig(port=0, heartbeat_s=0.1, lease_s=0.8)
    async with local_service(coordinator=settings) as service:
        coordinator, ticks, away = service.coordinator, list[Ticked](), True
        post = Coordinator.post_nowait

        def noted(self: Coordinator, item: Item) -> None:
            ticks.extend(event for event in item.events if isinstance(event, Ticked))
            post(self, item)

        async def ask() -> None:
            if away:
                raise StoreDown("away")

        async def is_away() -> bool:
            return coordinator.outage.since is not None

        async def has_ticked() -> bool:
            return bool(ticks)

        waiting = asyncio.create_task(coordinator.outage.ride_out(ask))
        await eventually(is_away)
        monkeypatch.setattr(Coordinator, "post_nowait", noted)
        with pytest.raises(TimeoutError):  # a window in which none may come: a slow machine makes it longer
            await asyncio.wait_for(eventually(has_ticked), 2 * settings.lease_s)
        away = False
        await waiting
        await eventually(has_ticked)
        assert ticks[0].anew
