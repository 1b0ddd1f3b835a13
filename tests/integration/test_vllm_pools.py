"""Two real models in one service."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.local_service import LocalService, local_service
from tests.support.rollouts import trees_of

from treeroll.client import connect_async
from treeroll.demo import MODEL_DIR, TOOL_MODEL_DIR
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.vllm_engine import VllmEngine

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

SHAPE = {"leaves": 8, "segment_tokens": 32, "max_depth": 4, "max_tokens": 128, "scorer": "arith"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[LocalService]:
    """The model that calls the calculator, and the one that calculates itself."""
    async with local_service(pools=("calls", "writes")) as service:
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
