"""Rollouts of the command line against a service in this process, and trees that such a service grew."""

import asyncio
from functools import cache
from pathlib import Path
from typing import Any

from treeroll.cli.job import execute
from treeroll.cli.preflight import Request, make_plan
from treeroll.cli.settings import rollout_settings
from treeroll.client import AsyncClient, TreeRecord, connect_async
from treeroll.demo import TASKS_FILE
from treeroll.results.directory import Mode
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

RUN: dict[str, Any] = {"recipe": "treepo", "leaves": 8, "segment_tokens": 32, "scorer": "arith", "seed": 5}


def request(
    service: LocalService, out: Path, *, tasks: Path = TASKS_FILE, mode: Mode = Mode.REFUSE, limit: int | None = None,
    **run: Any,
) -> Request:  # fmt: skip
    """What `treeroll rollout TASKS --out OUT --address ...` asks for."""
    settings = rollout_settings(None, [], {"run": {**RUN, **run}})
    return Request(tasks, out, mode, service.address, limit, False, settings, ())


async def rollout(service: LocalService, out: Path, **changes: Any) -> int:
    """One whole rollout, once the service's replicas are there; returns the exit code."""
    await service.joined()
    return await execute(make_plan(request(service, out, **changes)))


@cache
def grown_trees(count: int = 6) -> tuple[TreeRecord, ...]:
    """Scored trees over the demo tasks, as a consumer gets them."""

    async def grow() -> list[TreeRecord]:
        async with local_service() as service:
            service.start_replica("r0", slots=32)
            async with await connect_async(service.address) as client:
                run = await client.create_run("run", **RUN)
                await run.submit(read_tasks(TASKS_FILE, limit=count))
                await run.close()
                return [tree async for batch in run.batches(trees=4) for tree in batch.trees]

    # On a thread of its own: the test that asks may be running a loop.
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return tuple(pool.submit(asyncio.run, grow()).result())


async def trees_of(client: AsyncClient, run_id: str, recipe: str, tasks: int, **config: object) -> list[TreeRecord]:
    """The trees of a run of its own over the first demo tasks."""
    run = await client.create_run(run_id, recipe=recipe, **config)
    await run.submit(read_tasks(TASKS_FILE, limit=tasks))
    await run.close()
    return [tree async for batch in run.batches() for tree in batch.trees]


def mean_rewards(trees: list[TreeRecord]) -> dict[str, float]:
    """Path-weighted mean reward of each task: what an independent sample would earn."""
    return {tree.task_id: sum(s.path_weight * (s.reward or 0.0) for s in tree.samples) for tree in trees}
