"""An engine that breaks, or dies, over one task: nothing of that is delivered, and the other tasks notice nothing."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.support.rollouts import rollout

from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.errors import EngineError
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Delta, EngineRequest
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service
from treeroll.tokenizer import Tokenizer

TASKS, LEAVES = 6, 4
BROKEN = list(read_tasks(TASKS_FILE, limit=TASKS))[2]


class Engine(SimulatedEngine):
    """Breaks each `every`-th request behind one prompt, from its second delta on; or dies of it."""

    def __init__(self, every: int, deadly: bool = False) -> None:
        tokenizer = Detokenizer(MODEL_DIR).tokenizer
        super().__init__(tokenizer, slots=32, max_model_len=1024, latency=SimulatedLatency(step_s=0.0))
        self.prompt = Tokenizer.load(MODEL_DIR).encode_text(BROKEN.prompt or "")
        self.every, self.deadly = every, deadly
        self.asked = 0

    async def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        ids = memoryview(request.prefix_ids).cast("i").tolist()
        broken = ids[: len(self.prompt)] == self.prompt
        self.asked += broken
        broken = broken and self.asked % self.every == 0
        first = True
        async for delta in super().generate(request):
            if broken and not first and self.deadly:
                raise EngineError("the engine met its end")
            if broken and not first:
                delta.logprobs = [math.nan for _ in delta.logprobs]
            first = False
            yield delta


@pytest.mark.parametrize("every", [1, 2], ids=["always", "every other request"])
async def test_rows_have_no_number_that_cannot_be_and_the_summary_names_the_error(every: int, tmp_path: Path) -> None:
    engine = Engine(every)
    async with local_service() as service:
        replica = service.serve_engine(engine, "r0")
        assert await rollout(service, tmp_path, limit=TASKS, leaves=LEAVES, recipe="flat") == 0
        assert not replica.done()
    samples = pq.read_table(tmp_path / "samples.parquet").to_pylist()
    nodes = pq.read_table(tmp_path / "nodes.parquet").to_pylist()
    assert all(math.isfinite(logprob) for row in (*samples, *nodes) for logprob in row["logprobs"])
    whole = {row["task_id"] for row in samples if row["status"] == "complete"}
    assert len(whole - {BROKEN.id}) == TASKS - 1
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert "logprob nan" in summary["engine_error"]
    if every == 1:
        assert summary["engine_errors"] == 5 * LEAVES
        assert [failure["task_id"] for failure in summary["failures"]] == [BROKEN.id]
        assert "logprob nan" in summary["failures"][0]["error"]
    else:
        assert 0 < summary["engine_errors"] < engine.asked
        assert summary["failed_tasks"] == 0


async def keep(service: LocalService, deaths: list[str]) -> None:
    """What a supervisor does for one replica."""
    incarnation = 1
    while True:
        replica = service.serve_engine(Engine(1, deadly=True), "r0", incarnation)
        try:
            await replica
        except EngineError as error:
            deaths.append(str(error))
        service.lose("r0", incarnation)
        incarnation += 1


async def test_a_task_that_its_replica_dies_of_twice_is_quarantined_and_named_and_the_others_are_whole(
    tmp_path: Path,
) -> None:
    deaths: list[str] = []
    async with local_service() as service:
        keeper = asyncio.create_task(keep(service, deaths))
        await asyncio.sleep(0)
        assert await rollout(service, tmp_path, limit=TASKS, leaves=LEAVES, recipe="flat") == 0
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
    assert len(deaths) == 2
    samples = pq.read_table(tmp_path / "samples.parquet").to_pylist()
    assert len({row["task_id"] for row in samples if row["status"] == "complete"} - {BROKEN.id}) == TASKS - 1
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["quarantined"] == [BROKEN.id]
    assert summary["lost_tokens_max"] > 0
    [failure] = summary["failures"]
    assert failure["error"] == (
        f"task '{BROKEN.id}' is quarantined: 2 replicas were lost while it grew on them, the last alone: "
        "its process died"
    )
