"""kill -9 of one of several ranks, which comes back while another is slow: equal steps, every tree in one share."""

import asyncio
import json
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from treeroll.client import connect_async
from treeroll.demo import TASKS_FILE
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

ROOT = Path(__file__).parents[2]
TASKS, TREES = 14, 4
DIES_IN = 2
SLOW_S = 0.2


async def rank(*arguments: object) -> int | None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.rank", *map(str, arguments), cwd=ROOT
    )
    return await process.wait()


@pytest.mark.parametrize("world", [2, 4])
async def test_ranks_have_equal_steps_and_every_tree_once_though_one_is_killed(world: int, tmp_path: Path) -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        run = await client.create_run("run", recipe="flat", leaves=2, segment_tokens=32, max_depth=4)
        wanted = await run.submit(read_tasks(TASKS_FILE, limit=TASKS))
        await run.close()
        files = [tmp_path / f"rank-{number}.jsonl" for number in range(world)]

        def life(number: int, dies_in: int = 0) -> "asyncio.Task[int | None]":
            slow = SLOW_S if number == 0 else 0.0
            place = (service.address, "run", files[number], number, world, TREES)
            return asyncio.create_task(rank(*place, dies_in, slow))

        others = [life(number) for number in range(world) if number != 1]
        assert await life(1, DIES_IN) == -signal.SIGKILL
        assert await life(1) == 0
        assert [await other for other in others] == [0] * (world - 1)
        shares = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
        steps = -(-TASKS // TREES)
        assert [[share["step"] for share in own] for own in shares] == [list(range(1, steps + 1))] * world
        assert Counter(tree for own in shares for share in own for tree in share["trees"]) == Counter(wanted)
        for step in zip(*shares, strict=True):
            assert {share["of"] for share in step} == {sum(len(share["trees"]) for share in step)}
        assert (await service.store.group_state("run", "ranks")).acknowledged == TASKS
        assert (await client.audit()).violations == []
