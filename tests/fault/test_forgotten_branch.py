"""An engine forgets one request and decodes all others: its branch is granted elsewhere, and nothing else is lost."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from treeroll.client import connect_async
from treeroll.core.model.fleet import QUARANTINED
from treeroll.demo import TASKS_FILE
from treeroll.generator import replica, stalls
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Delta, EngineRequest
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

TASKS = 24


class Forgetful(SimulatedEngine):
    """Decodes the first request that it gets, and tells nobody, not even that it is done."""

    forgotten = ""

    async def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        first = not self.forgotten
        self.forgotten = self.forgotten or request.request_id
        async for delta in super().generate(request):
            if not first:
                yield delta
        if first:
            await asyncio.Event().wait()


def engine(service: LocalService, kind: type[SimulatedEngine]) -> SimulatedEngine:
    tokenizer = Detokenizer(service.tokenizer.model_dir).tokenizer
    return kind(tokenizer, slots=8, max_model_len=1024, latency=SimulatedLatency(step_s=0.002))


async def test_its_branch_is_granted_elsewhere_and_its_replica_works_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalls, "STALLED_S", 0.2)
    monkeypatch.setattr(stalls, "LONGEST_LOOK_S", 0.01)  # this process may stand still, too
    monkeypatch.setattr(replica, "HEALTH_INTERVAL_S", 0.01)
    async with local_service() as service, await connect_async(service.address) as client:
        forgetful = engine(service, Forgetful)
        service.serve_engine(forgetful, "r0")
        service.serve_engine(engine(service, SimulatedEngine), "r1")
        await service.joined()
        run = await client.create_run("run", recipe="flat", leaves=4, segment_tokens=32, max_depth=6, scorer="arith")
        await run.submit(read_tasks(TASKS_FILE, limit=TASKS))
        await run.close()
        trees = [tree async for batch in run.batches() for tree in batch.trees]
        status = await run.status()
        standing = service.coordinator.state.health["r0"].standing
        violations = (await client.audit()).violations
    assert forgetful.forgotten
    assert {tree.status for tree in trees} == {"complete"}
    assert len(trees) == TASKS
    assert (status.engine_errors, violations) == (1, [])
    assert f"made no token for {forgetful.forgotten}" in status.engine_error
    assert standing is not QUARANTINED
