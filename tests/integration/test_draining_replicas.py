"""Replicas that are to end: their fleet says so, they finish what they can and leave, and no coordinator forgets it."""

import asyncio
import logging
import re
from typing import Any

import pytest
from tests.integration.test_fleets import linked
from tests.support.eventually import eventually
from tests.support.pace import halting_engine
from tests.support.ports import free_port

from treeroll.client import connect_async
from treeroll.config import CoordinatorConfig
from treeroll.core.model.branch import Outcome
from treeroll.core.model.events import LossKind
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.replica import Replica
from treeroll.pb.v1 import fleet_pb2 as wire
from treeroll.pb.v1 import replica_pb2
from treeroll.store.memory import MemoryStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 4, "segment_tokens": 32, "max_depth": 10, "scorer": "arith"}
TASKS = 6


def grants(service: LocalService, name: str) -> int:
    replica = service.coordinator.state.replicas.get(name)
    return len(replica.grants) if replica else 0


def draining(service: LocalService, name: str, within_s: float, preempted: bool) -> wire.DrainingReplica:
    process = service.replicas.sessions[name].hello.process
    told = replica_pb2.Draining(within_s=within_s, cause="its node is taken away", preempted=preempted)
    return wire.DrainingReplica(replica_id=name, process=process, draining=told)


async def drained(within_s: float, preempted: bool = False, step_s: float = 0.01) -> LocalService:
    """The service after a run of which the first of two replicas was drained while it had branches, of which it makes
    a token in `step_s`."""
    async with local_service() as service, linked(service, _=2) as link:
        first = service.start_replica("r0", slots=4, latency=SimulatedLatency(step_s=step_s))
        service.start_replica("r1", slots=4, latency=SimulatedLatency(step_s=0.01))
        await service.joined()
        async with await connect_async(service.address) as client:
            run = await client.create_run("run", **RUN)
            await run.submit(list(read_tasks(TASKS_FILE, limit=TASKS)))
            await run.close()

            async def works() -> bool:
                return grants(service, "r0") > 0

            await eventually(works)
            link.draining = lambda: [draining(service, "r0", within_s, preempted)]

            async def told() -> bool:
                states = {one.replica_id: (one.state, one.reason) for one in (await client.status()).replicas}
                return states["r0"][0] in ("draining", "lost") and states["r1"][0] == "ready"

            await eventually(told)
            assert len([tree async for batch in run.batches(trees=1) for tree in batch.trees]) == TASKS
            await asyncio.wait_for(first, 300)  # the process ends by itself
            assert (await client.audit()).violations == []
            record = await run.status()
            assert record.ledger.outstanding == 0
        return service


async def test_a_replica_that_its_fleet_drains_finishes_what_runs_and_leaves() -> None:
    service = await drained(600)
    assert service.coordinator.state.pools[""].ends[LossKind.DRAINED] == 1
    assert service.coordinator.figures.losses == {}
    assert service.coordinator.state.pools[""].outcomes[Outcome.DRAINED] == 0


async def test_one_that_ends_because_its_node_is_taken_away_is_counted_as_that(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="treeroll.coordinator.replica_session")
    service = await drained(600, preempted=True)
    assert re.search(r"replica r0 incarnation 1 on \S+ has gone \(preempted\): it said goodbye", caplog.text)
    assert "lost its lease" not in caplog.text
    assert service.coordinator.state.pools[""].ends == {LossKind.PREEMPTED: 1}
    assert service.coordinator.figures.losses == {}


async def test_what_it_has_not_finished_in_time_is_finished_elsewhere() -> None:
    service = await drained(0.05, step_s=10.0)
    assert service.coordinator.state.pools[""].ends[LossKind.DRAINED] == 1
    assert service.coordinator.figures.losses == {}
    outcomes = service.coordinator.state.pools[""].outcomes
    assert outcomes[Outcome.DRAINED] > 0
    assert outcomes[Outcome.LOST] == 0


async def test_a_drain_outlives_the_coordinator_because_the_replica_says_so_itself() -> None:
    store, config = MemoryStore(), CoordinatorConfig(port=free_port(), heartbeat_s=0.2, lease_s=30.0)
    replica = Replica(halting_engine(1), Detokenizer(MODEL_DIR), "r0", 1, f"127.0.0.1:{config.port}")
    serving = asyncio.create_task(replica.run())
    try:
        async with local_service(store, config) as service, linked(service, _=1) as link:
            async with await connect_async(service.address) as client:
                run = await client.create_run("run", **RUN)
                await run.submit(list(read_tasks(TASKS_FILE, limit=2)))

            async def works() -> bool:
                return grants(service, "r0") > 0

            await eventually(works)
            link.draining = lambda: [draining(service, "r0", 600, False)]

            async def told() -> bool:
                return replica.hello().HasField("draining")

            await eventually(told)
        async with local_service(store, config) as service:

            async def knows() -> bool:
                known = service.coordinator.state.replicas.get("r0")
                return known is not None and known.drain is not None

            await eventually(knows)
            assert grants(service, "r0") == replica.live_branches > 0  # which it goes on with
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
