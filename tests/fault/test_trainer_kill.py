"""kill -9 of a trainer at each point of its step: its checkpoint's weights have seen every tree once."""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.support.eventually import eventually

from treeroll.client import AsyncRun, connect_async
from treeroll.demo import TASKS_FILE
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

ROOT = Path(__file__).parents[2]
TASKS = 9


async def train(*arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.trainer", *arguments, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, stderr = await process.communicate()
    return process.returncode, stderr.decode()


async def ended(run: AsyncRun) -> bool:
    return (await run.status()).ended


@pytest.mark.parametrize("point", ["trained", "acked", "saved", "unread"])
async def test_no_tree_is_trained_on_twice_or_never(empty_redis: EmbeddedRedis, point: str, tmp_path: Path) -> None:
    store = RedisStore(empty_redis.url)
    await store._call("FLUSHALL")
    async with local_service(store) as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        run = await client.create_run("run", recipe="flat", leaves=2, segment_tokens=32, max_depth=4)
        wanted = await run.submit(read_tasks(TASKS_FILE, limit=TASKS))
        await run.close()
        await eventually(lambda: ended(run))
        checkpoint = tmp_path / "checkpoint.json"
        arguments = (service.address, "run", str(checkpoint), "2", point)
        for dies_in in ("2", "1"):
            died, stderr = await train(*arguments, dies_in)
            assert died == -9, stderr
        done, stderr = await train(*arguments, "0")
        assert done == 0, stderr
        assert Counter(json.loads(checkpoint.read_text())["weights"]) == Counter(wanted)
        assert (await service.store.group_state("run", "trainer")).acknowledged == TASKS
        assert (await client.audit()).violations == []
