"""What a pool needs of a worker."""

import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from treeroll.scorers.base import Job, ScoreResult
from treeroll.scorers.process import ScorerProcess

BATCH_S = 1.0  # a batch ends with the item during which this passes, so that slow items do not hold up the rest


class WorkerLost(Exception):
    """The worker is gone, or must be treated so; the jobs it had are without result."""


class Worker(Protocol):
    """Scores batches, one at a time."""

    async def score(self, jobs: list[Job]) -> list[ScoreResult]:
        """Results of the first jobs, at least one and perhaps not all. WorkerLost when there will be none."""
        ...

    def close(self) -> None:
        """End it now, whatever it does. Idempotent."""
        ...


StartWorker = Callable[[], Coroutine[Any, Any, Worker]]
"""Starts one worker. Unavailable if that fails."""


def score_batch(process: ScorerProcess, jobs: list[Job]) -> list[ScoreResult]:
    """Results of the first jobs, as many as BATCH_S allows and at least one."""
    ends = time.monotonic() + BATCH_S
    results = []
    for job in jobs:
        results.append(process.score(job))
        if time.monotonic() >= ends:
            break
    return results
