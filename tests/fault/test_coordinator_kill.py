"""A coordinator is killed again and again, with replicas and trainers that go on: nothing is lost, changed or twice."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.support.coordinator_process import CoordinatorProcess
from tests.support.eventually import eventually

from treeroll import failpoints
from treeroll.client import RunStatus, TreeRecord, connect_async
from treeroll.client.status import Violation
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.replica import Replica
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.store.embedded import EmbeddedRedis
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

TASKS = 8
RUN: dict[str, Any] = {"recipe": "treepo", "leaves": 8, "segment_tokens": 8, "max_depth": 6, "scorer": "arith"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


def rows(tree: TreeRecord) -> tuple[object, ...]:
    """All that must not depend on who died when."""
    nodes = sorted(
        (node.path, tuple(node.token_ids), tuple(node.logprobs), node.text, node.status, node.stop_reason,
         node.branch_reason, node.decision, [(reward.scorer, reward.value) for reward in node.rewards])
        for node in tree.nodes
    )  # fmt: skip
    return tree.task_id, tree.status, tree.n_censored, nodes


Consumed = tuple[list[tuple[object, ...]], RunStatus, list[Violation]]


async def consumed(address: str, begun: asyncio.Event) -> Consumed:
    """All trees of a run, acknowledged one by one; the run at its end, and what an audit says."""
    async with await connect_async(address) as client:
        begun.set()
        run = await client.create_run("run", **RUN)
        await run.submit(read_tasks(TASKS_FILE, limit=TASKS))
        await run.close()
        trees = [rows(tree) async for batch in run.batches(trees=1) for tree in batch.trees]
        return sorted(trees, key=str), await run.status(), (await client.audit()).violations


@asynccontextmanager
async def replicas(address: str) -> AsyncIterator[None]:
    """Two, which outlive coordinators."""
    tasks = []
    for name in ("r0", "r1"):
        detokenizer = Detokenizer(MODEL_DIR)
        latency = SimulatedLatency(step_s=0.004)
        engine = SimulatedEngine(detokenizer.tokenizer, slots=8, max_model_len=1024, latency=latency)
        tasks.append(asyncio.create_task(Replica(engine, detokenizer, name, 1, address, "").run()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


DEATHS = ["commit.after:7", "recovery.read", "recovery.rebuilt", "commit.after", "commit.before:9", "perform.between:9"]


def test_all_places_to_die_at_are_tried() -> None:
    assert {death.partition(":")[0] for death in DEATHS} == set(failpoints.NAMES)


@pytest.mark.slow
async def test_trees_are_those_of_a_run_without_deaths_and_each_is_acknowledged_once(server: EmbeddedRedis) -> None:
    async with local_service() as service, replicas(service.address):
        wanted, before, _ = await consumed(service.address, asyncio.Event())
    with CoordinatorProcess(server.url) as coordinator:
        coordinator.start()
        await eventually(coordinator.listens)
        async with replicas(coordinator.address):
            begun, deaths = asyncio.Event(), 0
            consuming = asyncio.create_task(consumed(coordinator.address, begun))

            async def over() -> bool:
                return consuming.done() or await coordinator.died()

            await begun.wait()
            coordinator.kill()
            for death in (*DEATHS, ""):
                await eventually(over, timeout_s=300)
                if not consuming.done():
                    deaths += 1
                    coordinator.start(death)
            got, after, violations = await consuming
    assert deaths > len(DEATHS) / 2
    assert got == wanted
    assert violations == []
    assert after.finished == before.finished == TASKS
    assert after.ledger.spent == sum_of_trees(server)


def sum_of_trees(server: EmbeddedRedis) -> int:
    """Tokens that the stored trees spent; no journal is left of any."""
    with Redis.from_url(server.url) as redis:
        headers = [redis.hget(key, "header") for key in redis.scan_iter("treeroll:1:{s00}:tree:*")]
        assert not list(redis.scan_iter("treeroll:1:{s00}:journal:*"))
    return sum(pb.Tree.FromString(header).ledger.spent for header in headers)
