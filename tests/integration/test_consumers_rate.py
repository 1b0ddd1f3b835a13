"""What consumers can take: told only while trees wait for all of them, from what they acknowledged and when weights
came."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.eventually import eventually

from treeroll.autoscale.consumption import Inequality, cap
from treeroll.client import connect_async
from treeroll.coordinator.consumers_rate import ConsumersRate
from treeroll.core.model.weights import Phase, Publication, Weights
from treeroll.demo import TASKS_FILE
from treeroll.pb.v1.watch_pb2 import GroupFigures
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 32, "max_depth": 2, "scorer": "arith"}
TASKS = 4


def group(acknowledged: int, waiting: int, name: str = "trainer", run_id: str = "run") -> GroupFigures:
    return GroupFigures(run_id=run_id, group=name, acknowledged=acknowledged, waiting=waiting)


@asynccontextmanager
async def watched(**run: Any) -> AsyncIterator[tuple[LocalService, ConsumersRate]]:
    """Four trees have ended 100 s after the first look, in which 50 were acknowledged."""
    async with local_service() as service, await connect_async(service.address) as client:
        made = await client.create_run("run", **RUN, **run)
        await made.submit(list(read_tasks(TASKS_FILE, limit=TASKS)))
        [pool] = service.coordinator.state.pools.values()
        rate = ConsumersRate(service.coordinator, pool)
        assert rate.look(0.0, [group(0, 3)], 2) is None
        service.start_replica("r0")

        async def grown() -> bool:
            return (await made.status()).finished == TASKS

        await eventually(grown)
        yield service, rate


async def test_a_trainer_is_told_by_what_it_acknowledged_while_trees_waited_for_it() -> None:
    async with watched() as (_, rate):
        found = rate.look(100.0, [group(50, 5)], 4)
        assert found is not None
        trainer, replicas = found
        assert (trainer.trees / trainer.step_s, trainer.rate) == (pytest.approx(0.5), pytest.approx(0.04))
        assert (trainer.queued, trainer.waste, trainer.staleness, replicas) == (5, 0.0, None, 3)
        assert trainer.latency_s > 0
        bound = cap(trainer, replicas)
        assert bound is not None
        assert (bound.size, bound.binds) == (38, Inequality.RATE)  # 12.5 times as many


async def test_publications_are_the_steps_against_which_staleness_is_counted() -> None:
    async with watched(max_staleness=2) as (service, rate):
        [pool] = service.coordinator.state.pools.values()
        for version, started in ((1, 10.0), (2, 50.0), (3, 90.0)):
            weights = Weights(version, f"/weights/{version}")
            pool.weights.history.append(Publication(weights, 0.0, started, started, phase=Phase.DONE, seconds=3.0))
        found = rate.look(100.0, [group(50, 5)], 2)
        assert found is not None
        trainer, _ = found
        assert (trainer.step_s, trainer.trees, trainer.flip_s) == (40.0, pytest.approx(20.0), 3.0)
        assert (trainer.staleness, trainer.allowed_s) == (2, 40.0)


async def test_nothing_is_said_of_consumers_that_may_want_more() -> None:
    async with watched() as (_, rate):
        starving = [group(50, 5), group(50, 0, "evaluation")]
        assert rate.look(100.0, starving, 2) is None
        assert rate.look(101.0, [group(50, 5)], 2) is None  # and what was seen before counts no more
        assert rate.look(170.0, [], 2) is None
        assert rate.look(171.0, [group(50, 5, run_id="other")], 2) is None


async def test_a_trainer_that_acknowledges_nothing_bounds_nothing() -> None:
    async with watched() as (_, rate):
        assert rate.look(100.0, [group(0, 5)], 2) is None
