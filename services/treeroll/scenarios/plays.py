"""What is wrong in each scenario. All begin with three replicas, a run and a trainer."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.numpy import load_file

from treeroll.demo import MODEL_DIR
from treeroll.scenarios.stage import STEP_S, TAKEN, Stage
from treeroll.weights.save import save_weights

LAG = 8.0
UP_S, GONE_S = 5.0, 2.0
BETWEEN_OUTAGES_S, OUTAGE_S = 10.0, 6.0
PUBLISH_S = 8.0
AHEAD = 24
BUDGET, RATE = 2_500, 150


Play = Callable[[Stage], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`lesson`: what is wrong, and where the dashboard says so."""

    name: str
    lesson: str
    play: Play


async def steady(stage: Stage) -> None:
    """All is well."""
    stage.replicas("gpu-0", "gpu-1", "gpu-2")
    stage.trainer(await stage.run())


async def lagging_replica(stage: Stage) -> None:
    """One engine decodes at a fraction of the speed of the others."""
    stage.replicas("gpu-0", "gpu-1", "gpu-2")
    stage.replica("gpu-3", step_s=LAG * STEP_S)
    stage.trainer(await stage.run())


async def crash_loop(stage: Stage) -> None:
    """One replica dies some seconds after each start."""
    stage.replicas("gpu-0", "gpu-1")
    stage.trainer(await stage.run())
    incarnation = 1
    while True:
        process = stage.replica("gpu-2", incarnation)
        await asyncio.sleep(UP_S)
        process.cancel()
        stage.service.lose("gpu-2", incarnation)
        await asyncio.sleep(GONE_S)
        incarnation += 1


async def redis_down(stage: Stage) -> None:
    """The store dies now and then, and is started again."""
    await steady(stage)
    while True:
        await asyncio.sleep(BETWEEN_OUTAGES_S)
        os.kill(stage.redis.pid, signal.SIGKILL)
        await asyncio.sleep(OUTAGE_S)
        await asyncio.to_thread(stage.redis.restart)


async def budget_end(stage: Stage) -> None:
    """One run has used up its tokens, which cut its trees; another has few tokens a second."""
    stage.replicas("gpu-0", "gpu-1", "gpu-2")
    stage.trainer(await stage.run("small-budget", epochs=1, budget={"tokens": BUDGET}))
    stage.trainer(await stage.run("slow-budget", budget={"tokens_per_second": RATE}))


async def feed_blocked(stage: Stage) -> None:
    """The only consumer took some trees, and has done nothing since; growth waits for it."""
    stage.replicas("gpu-0", "gpu-1", "gpu-2")
    run = await stage.run(ahead=AHEAD)
    async for _ in run.batches(trees=TAKEN, group="trainer-0"):
        await asyncio.Event().wait()


async def stale_weights(stage: Stage) -> None:
    """New weights come faster than trees grow, and the run takes no older ones."""
    stage.replicas("gpu-0", "gpu-1", "gpu-2")
    run = await stage.run(max_staleness=0)
    stage.trainer(run)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        await asyncio.to_thread(save_weights, load_file(MODEL_DIR / "model.safetensors"), path)
        for version in count(1):
            await asyncio.sleep(PUBLISH_S)
            await run.publish_weights(path, version)


_LESSONS: dict[str, tuple[str, Play]] = {
    "steady": ("nothing is wrong", steady),
    "lagging-replica": ("gpu-3 decodes at an eighth of the speed of the others: Replicas, its speed", lagging_replica),
    "crash-loop": ("gpu-2 dies some seconds after each start: Replicas, lost", crash_loop),
    "redis-down": ("the store is away for 6 s, again and again: Store", redis_down),
    "budget-end": ("a run's tokens are used up, another's come slowly: Trees, why they stopped", budget_end),
    "feed-blocked": ("a consumer holds trees and does nothing, so growth waits: Feed", feed_blocked),
    "stale-weights": ("weights come faster than trees grow, so these are withheld: Trees, failed", stale_weights),
}
SCENARIOS = {name: Scenario(name, lesson, play) for name, (lesson, play) in _LESSONS.items()}
