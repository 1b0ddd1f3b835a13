"""Stage: a service on a Redis of its own, and what plays do with it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from treeroll.client import AsyncClient
from treeroll.client.async_run import AsyncRun
from treeroll.demo import TASKS_FILE
from treeroll.errors import LeaseLost, Stalled, Unavailable
from treeroll.generator.config import SimulatedLatency
from treeroll.store.embedded import EmbeddedRedis
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService

SLOTS, STEP_S = 24, 0.03
RUN = {"recipe": "treepo", "leaves": 8, "segment_tokens": 32, "scorer": "arith", "seed": 5}
# Tasks of an epoch, of those whose leaves differ in reward by chance, and so many that are left when the next comes.
FIRST, TASKS, LEFT = 150, 24, 24
TAKEN = 4
STEP_OF_TRAINING_S = 0.5


class Stage:
    """A service, and consumers beside it."""

    def __init__(self, service: LocalService, redis: EmbeddedRedis, client: AsyncClient) -> None:
        self.service, self.redis, self.client = service, redis, client
        self._beside = asyncio.TaskGroup()

    async def perform(self, play: "Callable[[Stage], Coroutine[Any, Any, None]]") -> None:
        """The play, and what it leaves on the stage, until cancelled."""
        async with self._beside:
            self._beside.create_task(play(self))

    def replica(self, name: str, incarnation: int = 1, step_s: float = STEP_S) -> asyncio.Task[None]:
        """A simulated replica; cancelling the task is its death."""
        return self.service.start_replica(name, incarnation, SLOTS, SimulatedLatency(step_s=step_s))

    def replicas(self, *names: str) -> None:
        """Several of them, all alike."""
        for name in names:
            self.replica(name)

    async def run(self, run_id: str = "math-7b", *, epochs: int | None = None, **config: Any) -> AsyncRun:
        """A run that is given the same tasks again and again, so many epochs long; None: for ever."""
        run = await self.client.create_run(run_id, **{**RUN, **config})
        self._beside.create_task(self._submit(run, epochs))
        return run

    async def _submit(self, run: AsyncRun, epochs: int | None) -> None:
        tasks = list(read_tasks(TASKS_FILE, limit=FIRST + TASKS))[FIRST:]
        epoch = 0
        while epoch != epochs:
            try:
                status = await run.status()
                if status.submitted - status.finished - status.failed <= LEFT:
                    await run.submit(tasks, epoch)
                    epoch += 1
            except Unavailable:  # its store is away, which the play may mean
                pass
            await asyncio.sleep(1)

    def trainer(self, run: AsyncRun, name: str = "trainer-0") -> None:
        """A consumer that takes trees, trains for a moment, and acknowledges."""
        self._beside.create_task(self._train(run, name))

    async def _train(self, run: AsyncRun, name: str) -> None:
        while True:
            try:
                async for batch in run.batches(trees=TAKEN, group=name, max_wait_s=2.0):
                    await asyncio.sleep(STEP_OF_TRAINING_S)
                    await batch.ack()
            except (LeaseLost, Stalled, Unavailable):  # its run may have nothing more for it: the play may mean that
                await asyncio.sleep(1)
