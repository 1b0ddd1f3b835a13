"""kill -9 of a trainer before its acknowledgement, with a real Redis: its trees come again, nobody else's do."""

import asyncio
import sys
from collections import Counter
from pathlib import Path

from treeroll.client import connect_async
from treeroll.demo import TASKS_FILE
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

ROOT = Path(__file__).parents[2]


async def test_trees_of_a_killed_consumer_come_again_to_its_group_and_to_no_other(tmp_path: Path) -> None:
    tasks = list(read_tasks(TASKS_FILE, limit=12))
    wanted = sorted(task.id for task in tasks)
    with EmbeddedRedis(tmp_path, durability="always") as server:
        async with local_service(RedisStore(server.url, durability="always")) as service:
            service.start_replica("r0")
            client = await connect_async(service.address)
            run = await client.create_run("run", recipe="flat", leaves=4, segment_tokens=32, max_depth=10)
            await run.submit(tasks)
            await run.close()
            victim = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.support.consumer", service.address, "run", "a", "5", "2",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
            )  # fmt: skip
            assert victim.stdout is not None
            held = (await victim.stdout.readline()).decode().split()
            assert len(held) == 5
            victim.kill()
            await victim.wait()
            seen: Counter[str] = Counter()
            again: set[str] = set()
            async for batch in run.batches(trees=3, group="a"):
                for tree, delivery in zip(batch.trees, batch.deliveries, strict=True):
                    seen[tree.task_id] += 1
                    if delivery.times_delivered > 1:
                        again.add(tree.task_id)
            assert sorted(seen.elements()) == wanted
            assert again == set(held)
            other = [tree.task_id async for batch in run.batches(trees=3, group="b") for tree in batch.trees]
            assert sorted(other) == wanted
            assert (await client.audit()).violations == []
