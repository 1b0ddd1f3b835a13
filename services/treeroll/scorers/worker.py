"""What a pool needs of a worker."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from treeroll.scorers.base import Job, ScoreResult


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
