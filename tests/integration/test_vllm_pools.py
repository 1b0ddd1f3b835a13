"""Two real models in one service."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.pace import PATIENT
from tests.support.rollouts import trees_of
from tests.support.two_models import TwoModels

from treeroll.client import connect_async
from treeroll.demo import MODEL_DIR, TASKS_FILE, TOOL_MODEL_DIR
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.vllm_engine import VllmEngine
from treeroll.policies import registry
from treeroll.policy.needs import Needs
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service
from treeroll.weights.model_digest import model_digest

pytestmark = [pytest.mark.vllm, pytest.mark.asyncio(loop_scope="module")]

SHAPE = {"leaves": 8, "segment_tokens": 32, "max_depth": 4, "max_tokens": 128, "scorer": "arith"}


class Turns(TwoModels):
    """Its forks are of the model that calls."""

    other = "calls"
    needs = Needs(models=("calls",))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[LocalService]:
    """The model that calls the calculator, and the one that calculates itself."""
    async with local_service(coordinator=PATIENT, pools=("calls", "writes")) as service:
        for pool, model in (("calls", TOOL_MODEL_DIR), ("writes", MODEL_DIR)):
            engine = VllmEngine(GeneratorConfig(slots=32, seed=5, model=model, kv_cache_gib=0.25), seed=5)
            service.serve_engine(engine, f"{pool}-0", pool=pool)
        yield service


async def test_each_run_is_grown_by_the_model_that_it_names(service: LocalService) -> None:
    async with await connect_async(service.address) as client:
        names = ("calls", "writes")
        grown = await asyncio.gather(*(trees_of(client, name, "treepo", 6, model=name, **SHAPE) for name in names))
        status = await client.status()
    for name, trees in zip(names, grown, strict=True):
        assert [tree.status for tree in trees] == ["complete"] * 6
        nodes = [node for tree in trees for node in tree.nodes if node.depth]
        assert {node.replica_id for node in nodes} == {f"{name}-0"}
        calls = sum("<" in node.text for node in nodes) / len(nodes)
        assert (calls > 0.2) if name == "calls" else (calls < 0.02)
    assert [(pool.name, pool.replicas) for pool in status.pools] == [("calls", 1), ("writes", 1)]
    assert len({pool.engine.model for pool in status.pools if pool.engine}) == 2
    origins = {replica.pool: replica.origin for replica in status.replicas}
    assert {name: origin.model_digest for name, origin in origins.items()} == {
        "calls": model_digest(TOOL_MODEL_DIR),
        "writes": model_digest(MODEL_DIR),
    }
    assert all({"torch", "vllm"} <= origin.software.keys() for origin in origins.values())


async def test_a_branch_of_the_other_model_goes_on_behind_what_the_first_one_wrote(
    service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.POLICIES, "branch", (*registry.POLICIES["branch"], Turns))  # type: ignore[arg-type]
    async with await connect_async(service.address) as client:
        trees = await trees_of(client, "turns", "flat", 6, model="writes", branch={"name": "two_models"}, **SHAPE)
    assert [tree.status for tree in trees] == ["complete"] * 6
    for tree in trees:
        nodes = {node.node_id: node for node in tree.nodes}
        crossed = [node for node in tree.nodes if node.parent_id and node.model != nodes[node.parent_id].model]
        for node in (node for node in crossed if node.depth > 1):
            parent = nodes[node.parent_id or ""]
            assert (parent.model, node.model, node.replica_id) == ("writes", "calls", "calls-0")
            assert (node.cached_tokens or 0) + (node.recomputed_tokens or 0) == node.token_start
    made = Counter(node.model for tree in trees for node in tree.nodes if node.depth)
    assert min(made["writes"], made["calls"]) > 10


async def test_a_cascade_has_unsure_segments_made_by_the_other_model(service: LocalService) -> None:
    config: dict[str, Any] = {
        "model": "calls",
        "segment": {"hold": True},
        "branch": {"name": "cascade", "large": "writes", "surprisal": 0.2},
    }
    async with await connect_async(service.address) as client:
        trees = await trees_of(client, "cascade", "flat", 6, **config, **SHAPE)
    assert [tree.status for tree in trees] == ["complete"] * 6
    for tree in trees:
        nodes = {node.node_id: node for node in tree.nodes}
        for node in (node for node in tree.nodes if node.model == "writes"):
            dropped = [other for other in tree.nodes if other.parent_id == node.parent_id and other.status == "open"]
            assert any(-other.logprobs.mean() > 0.2 for other in dropped)
            assert nodes[node.parent_id or ""].depth == node.depth - 1
    assert {node.model for tree in trees for node in tree.nodes if node.depth} == {"calls", "writes"}


async def test_a_route_sends_hard_tasks_to_the_other_model(service: LocalService) -> None:
    route = {"name": "threshold", "small": "writes", "large": "calls", "below": 0.6}
    async with await connect_async(service.address) as client:
        run = await client.create_run("routed", recipe="flat", route=route, **SHAPE)
        tasks, trees = list(read_tasks(TASKS_FILE, limit=24)), []
        for epoch in (0, 1):
            await run.submit(tasks, epoch=epoch)
            seen = 0
            async for batch in run.batches(trees=8):
                trees += batch.trees
                seen += len(batch.trees)
                if seen == len(tasks):
                    await batch.ack()
                    break
    solved = {
        tree.task_id: sum(sample.reward or 0 for sample in tree.samples) / len(tree.samples)
        for tree in trees
        if tree.epoch == 0
    }
    hard = {task for task, rate in solved.items() if rate < 0.6}
    assert 0 < len(hard) < len(tasks)
    assert {tree.model for tree in trees if tree.epoch == 0} == {"writes"}
    assert {tree.task_id for tree in trees if tree.model == "calls"} == hard
