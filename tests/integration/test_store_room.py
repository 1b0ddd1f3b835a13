"""A store that fills up: people are warned, then nothing new begins, and what grows comes to its end."""

import asyncio
import logging
from typing import Any

import pytest
from tests.support.eventually import eventually

from treeroll.cli.main import app
from treeroll.client import AsyncClient, AsyncRun, connect_async
from treeroll.coordinator import store_room
from treeroll.demo import TASKS_FILE
from treeroll.errors import StoreFull, grpc_code
from treeroll.store.memory import MemoryStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 8, "max_depth": 4, "scorer": "arith"}


class FillingStore(MemoryStore):
    share: float | None = None

    async def used(self) -> float | None:
        return self.share


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FillingStore:
    monkeypatch.setattr(store_room, "LOOK_S", 0.01)
    return FillingStore()


async def told(client: AsyncClient, share: float | None) -> None:
    async def is_told() -> bool:
        return (await client.status()).store_used == share

    await eventually(is_told)


async def waits_for_room(run: AsyncRun) -> bool:
    return (await run.status()).held_up == "the store is almost full"


async def test_a_store_that_is_almost_full_begins_nothing_and_goes_on_when_it_has_room(
    store: FillingStore, capsys: pytest.CaptureFixture[str]
) -> None:
    async with local_service(store) as service, await connect_async(service.address) as client:
        run = await client.create_run("run", **RUN)
        await run.submit(read_tasks(TASKS_FILE, limit=4))
        store.share = 0.93
        await eventually(lambda: waits_for_room(run))
        service.start_replica("r0")
        await service.joined()
        with pytest.raises(StoreFull, match=r"takes no tasks while its store is almost full: memory has used 93 % of"):
            await run.submit(read_tasks(TASKS_FILE, limit=5))
        assert len(await run.submit(read_tasks(TASKS_FILE, limit=4))) == 4  # those that it has
        status = await run.status()
        assert (status.waiting, status.growing, status.finished) == (4, 0, 0)
        assert (await client.status()).store_full
        assert await asyncio.to_thread(app.run, ["status", "--address", service.address]) == 0
        assert "93% of its memory used, too full: no tree starts" in " ".join(capsys.readouterr().out.split())
        store.share = 0.5

        async def has_room() -> bool:
            return not await waits_for_room(run)

        await eventually(has_room)
        assert not (await client.status()).store_full
        await run.collect(await run.submit(read_tasks(TASKS_FILE, limit=5)))
        assert (await run.status()).finished == 5


async def test_what_grows_when_the_store_fills_up_comes_to_its_end(store: FillingStore) -> None:
    async with local_service(store) as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=2)
        run = await client.create_run("run", **RUN)
        await run.submit(read_tasks(TASKS_FILE, limit=40))

        async def grows() -> bool:
            return (await run.status()).growing > 0

        await eventually(grows)
        store.share = 0.9

        async def is_quiet() -> bool:
            status = await run.status()
            return status.growing == 0 and status.finished > 0 and status.waiting > 0

        await eventually(is_quiet)


async def test_people_are_warned_once_at_80_percent_and_again_at_90(
    store: FillingStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "treeroll.coordinator.store_room")
    async with local_service(store) as service, await connect_async(service.address) as client:
        for share in (0.7, 0.81, 0.85, 0.9, 0.95, 0.5, None):
            store.share = share
            await told(client, share)
    remedy = "raise that, or delete finished runs"
    assert [record.getMessage() for record in caplog.records] == [
        f"memory has used 81 % of its maxmemory: {remedy}; from 90 % on no tree starts",
        f"memory has used 90 % of its maxmemory: {remedy}; no tree starts and no task is taken",
        "memory has room again, 50 % of its memory are used",
    ]


def test_a_full_store_is_nothing_that_clients_try_again() -> None:
    assert grpc_code(StoreFull("full")) == "RESOURCE_EXHAUSTED"
