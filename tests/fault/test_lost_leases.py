"""A lost lease, and a report that cannot be, cost a replica its session: its engine goes on, and no tree is lost."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.eventually import eventually

from treeroll.client import AsyncClient, connect_async
from treeroll.coordinator.loop import Item
from treeroll.core.model.events import ReplicaFaulted
from treeroll.demo import TASKS_FILE
from treeroll.generator.config import SimulatedLatency
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 4, "segment_tokens": 32, "max_depth": 6, "scorer": "arith"}
TASKS = 24


@pytest.fixture
async def service() -> AsyncIterator[LocalService]:
    async with local_service() as service:
        for name in ("r0", "r1"):
            service.start_replica(name, slots=8, latency=SimulatedLatency(step_s=0.002))
        await service.joined()
        yield service


async def began(service: LocalService) -> AsyncClient:
    """A run that both replicas work for."""
    client = await connect_async(service.address)
    run = await client.create_run("run", **RUN)
    await run.submit(read_tasks(TASKS_FILE, limit=TASKS))
    await run.close()

    async def both_work() -> bool:
        replicas = service.coordinator.state.replicas
        return all(replica.grants for replica in replicas.values())

    await eventually(both_work)
    return client


async def ended_whole(client: AsyncClient) -> None:
    run = await client.run("run")
    trees = [tree async for batch in run.batches() for tree in batch.trees]
    assert len(trees) == TASKS
    assert {tree.status for tree in trees} == {"complete"}
    assert (await client.audit()).violations == []


async def test_a_replica_that_lost_its_lease_drops_its_work_and_comes_back_with_the_same_engine(
    service: LocalService,
) -> None:
    client = await began(service)
    service.lose("r0", 1)

    async def is_back() -> bool:
        replica = service.coordinator.state.replicas.get("r0")
        return replica is not None and replica.incarnation == 2

    await eventually(is_back)
    await ended_whole(client)
    assert not any(task.done() for task in service.tasks if task.get_name() in ("r0", "r1"))
    assert (await (await client.run("run")).status()).regrants > 0


async def test_a_replica_that_lied_is_quarantined_with_the_reason_and_its_work_is_done_elsewhere(
    service: LocalService,
) -> None:
    client = await began(service)
    service.coordinator.post_nowait(Item([ReplicaFaulted("r0", 1, "its node cannot be read")]))

    async def is_back() -> bool:
        replica = service.coordinator.state.replicas.get("r0")
        return replica is not None and replica.incarnation == 2

    await eventually(is_back)
    [r0, r1] = (await client.status()).replicas
    assert (r0.state, r0.reason, r0.branches, r1.state) == ("quarantined", "its node cannot be read", 0, "ready")
    assert 0 < r0.retry_s <= 60
    await ended_whole(client)
    assert not any(task.done() for task in service.tasks if task.get_name() in ("r0", "r1"))
