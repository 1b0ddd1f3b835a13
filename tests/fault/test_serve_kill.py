"""kill -9 of a real `treeroll serve`, which is started again on its store and port: its trainer just waits."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.command import Command
from tests.support.ports import free_port

from treeroll.client import connect_async
from treeroll.demo import TASKS_FILE
from treeroll.store.embedded import EmbeddedRedis
from treeroll.tasks import read_tasks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TASKS = 8
RUN: dict[str, Any] = {"recipe": "flat", "leaves": 4, "segment_tokens": 8, "max_depth": 10, "scorer": "arith"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def place() -> Iterator[Path]:
    """For the services' temporary files; with a short path, so that sockets lie there too."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        yield Path(folder)


async def test_a_trainer_that_consumes_submits_and_closes_goes_on_and_has_every_tree_once(
    server: EmbeddedRedis, place: Path
) -> None:
    port, tasks = free_port(), list(read_tasks(TASKS_FILE, limit=TASKS))
    where = ("--store", server.url, "--port", str(port), "--set", f"coordinator.temp_dir={place}")

    def serve(log: str) -> Command:
        return Command(["serve", "--engine", "simulated", "--set", "dashboard.port=off", *where], place / log)

    with serve("first.log") as first:
        await asyncio.to_thread(first.until, lambda: "treeroll serves at" in first.output())
        async with await connect_async(f"127.0.0.1:{port}") as client:
            run = await client.create_run("run", **RUN)
            await run.submit(tasks[: TASKS // 2])
            batches = run.batches(trees=1)
            got = [(await anext(batches)).trees[0].task_id]
            first.process.kill()
            with serve("second.log"):
                await run.submit(tasks)  # half of which it has
                await run.close()
                got += [tree.task_id async for batch in batches for tree in batch.trees]
                assert sorted(got) == sorted(task.id for task in tasks)
                status = await run.status()
                assert (status.submitted, status.finished) == (TASKS, TASKS)
                assert (await client.audit()).violations == []
