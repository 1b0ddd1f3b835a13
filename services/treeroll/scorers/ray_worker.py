"""A scorer process on some machine of the Ray cluster, behind an actor."""

import asyncio
import contextlib
import os
from typing import Any

import ray
from ray.exceptions import RayError

from treeroll.errors import Unavailable
from treeroll.scorers.base import Job, ScoreResult
from treeroll.scorers.guard import describe
from treeroll.scorers.process import ATTEMPTS, LOAD_TIMEOUT_S, ScorerProcess
from treeroll.scorers.worker import BATCH_S, WorkerLost, score_batch

START_TIMEOUT_S = 120.0  # of an actor: Ray may have to start a Python process on a busy machine
GRACE_S = 30.0  # on top of all the time a batch may take by its own clocks


class ScorerActor:
    """Ray's end: a thin process that watches the one in which scorers run."""

    def __init__(self) -> None:
        self._process = ScorerProcess()

    def pid(self) -> int:
        """Process id; an answer means the actor is up."""
        return os.getpid()

    def score(self, jobs: list[Job]) -> list[ScoreResult]:
        """Results of the first jobs; see `score_batch`."""
        return score_batch(self._process, jobs)


class RayWorker:
    """Our end. A worker that fails once is closed for good; the pool starts another."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    @classmethod
    async def start(cls) -> "RayWorker":
        """Start an actor and wait until it answers. Unavailable if Ray is not connected or it does not come up."""
        if not ray.is_initialized():
            raise Unavailable("a scorer worker on Ray needs a Ray that is initialised: call ray.init")
        worker = cls(_create_actor())
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await worker._actor.pid.remote()
        except (RayError, TimeoutError) as error:
            worker.close()
            raise Unavailable(f"a scorer worker did not start: {describe(error)}") from error
        except asyncio.CancelledError:
            worker.close()
            raise
        return worker

    async def score(self, jobs: list[Job]) -> list[ScoreResult]:
        """See `Worker`."""
        try:
            async with asyncio.timeout(_longest(jobs)):
                results: list[ScoreResult] = await self._actor.score.remote(jobs)
                return results
        except (RayError, TimeoutError) as error:
            self.close()
            raise WorkerLost(describe(error)) from error

    def close(self) -> None:
        """Kill the actor. Its child goes with it, even one that hangs."""
        with contextlib.suppress(RayError):
            ray.kill(self._actor)


def _create_actor() -> Any:
    # num_cpus=0: scoring must never wait for a CPU that replicas hold. No retries of Ray's: the pool has its own.
    remote: Any = ray.remote(ScorerActor)
    return remote.options(num_cpus=0, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD").remote()


def _longest(jobs: list[Job]) -> float:
    """Seconds within which an actor that works as it should has answered."""
    slowest = max(job.timeout_s for job in jobs)
    return BATCH_S + ATTEMPTS * (LOAD_TIMEOUT_S + slowest) + GRACE_S
