"""A service whose pool follows its demand: replicas come with tasks and go when none wants them, and everybody is told
why."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.test_elastic import Fleet
from tests.integration.test_fleets import linked
from tests.support.eventually import eventually

from treeroll.autoscale.terms import Terms
from treeroll.cli.main import app
from treeroll.client import AsyncClient, connect_async
from treeroll.coordinator import autoscaler
from treeroll.demo import TASKS_FILE
from treeroll.metrics.render import render
from treeroll.pb.v1 import watch_pb2 as watch
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 4, "segment_tokens": 32, "max_depth": 2, "scorer": "arith"}
# Of four slots for each replica; times as short as the looks at a pool are apart.
TERMS = Terms(least=1, most=3, target=1.0, stable_s=2.0, panic_s=1.0, shrink_delay_s=2.0, drain_s=30.0, slots=4)


@asynccontextmanager
async def scaled(terms: Terms = TERMS) -> AsyncIterator[tuple[LocalService, Fleet, AsyncClient]]:
    """A service with one replica of four slots."""
    async with (
        local_service(autoscale={"": terms}) as service,
        linked(service) as link,
        await connect_async(service.address) as client,
    ):
        fleet = Fleet(service, link, 1)
        await service.joined()
        yield service, fleet, client


async def grow(client: AsyncClient, run_id: str, tasks: int) -> None:
    run = await client.create_run(run_id, **RUN)
    await run.submit(list(read_tasks(TASKS_FILE, limit=tasks)))
    await run.close()
    assert len([tree async for batch in run.batches(trees=1) for tree in batch.trees]) == tasks


async def snapshot(service: LocalService) -> watch.Snapshot:
    """As it was stored last."""
    return watch.Snapshot.FromString(await service.store.load_snapshot() or b"")


async def test_replicas_come_with_tasks_and_go_when_nothing_wants_them(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, logger="treeroll.coordinator.autoscaler")
    async with scaled() as (service, fleet, client):
        growing = asyncio.create_task(grow(client, "run", 20))

        async def wide() -> bool:
            return fleet.roster.wanted[""] == 3 and len(service.coordinator.state.replicas) == 3

        await eventually(wide)
        [line] = [record.getMessage() for record in caplog.records if "is to have 3" in record.getMessage()]
        assert line.startswith("pool '' is to have 3 replicas, not 1 (max: ")
        assert "branches live" in line
        [pool] = (await client.status()).pools
        assert (pool.desired, pool.desired_because.split(":")[0]) == (3, "max")
        code = await asyncio.to_thread(app.run, ["status", "--address", service.address])
        shown = capsys.readouterr().out
        assert code == 0
        assert "demand asks for 3 replicas of the pool: max: " in shown
        await growing

        async def narrow() -> bool:
            return fleet.roster.wanted[""] == 1 and set(service.coordinator.state.replicas) <= set(fleet.roster.seats)

        await eventually(narrow)
        assert (await client.audit()).violations == []

        async def told() -> bool:
            [figures] = (await snapshot(service)).pools
            decisions = sum("is to have" in record.getMessage() for record in caplog.records)
            return figures.desired_replicas == 1 and sum(figures.scalings.values()) == decisions

        await eventually(told)
        text = render(await snapshot(service), None, None).decode()
        assert 'treeroll_autoscale_desired_replicas{pool=""} 1' in text
        assert 'treeroll_autoscale_decisions_total{pool="",reason="max"} 1' in text


async def test_a_pool_without_a_replica_has_one_as_soon_as_a_run_is_open_and_nobody_takes_the_run_for_stuck() -> None:
    async with scaled(replace(TERMS, least=0)) as (service, fleet, client):

        async def none_left() -> bool:
            return fleet.roster.wanted[""] == 0 and not service.coordinator.state.replicas

        await eventually(none_left)
        run = await client.create_run("run", **RUN)
        await run.submit(list(read_tasks(TASKS_FILE, limit=4)))
        assert (await run.status()).stuck == ""
        await run.close()
        assert len([tree async for batch in run.batches(trees=1) for tree in batch.trees]) == 4
        assert (await client.audit()).violations == []


async def test_a_fleet_that_cannot_be_told_is_said_and_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoscaler, "REST_S", 0.1)
    async with scaled() as (service, fleet, client), linked(service, "b") as other:
        other.kept = other.wanted = lambda: {"": 1}
        other.wake()

        async def known() -> bool:
            return service.life.fleets.having("") == ["", "b"]

        await eventually(known)
        growing = asyncio.create_task(grow(client, "run", 8))

        async def refused() -> bool:
            return any(pool.scalings.get("refused") for pool in (await snapshot(service)).pools)

        await eventually(refused)
        assert "the fleets '', 'b' have replicas of the service's pool: say which one" in caplog.text
        assert fleet.roster.wanted[""] == 1
        await growing


async def test_a_pool_of_which_no_fleet_says_anything_is_left_alone() -> None:
    async with local_service(autoscale={"": TERMS}) as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        await service.joined()
        await grow(client, "run", 2)

        async def looked_at() -> bool:
            return bool((await snapshot(service)).pools)

        await eventually(looked_at)
        [pool] = (await client.status()).pools
        assert (pool.desired, pool.desired_because) == (None, "")
