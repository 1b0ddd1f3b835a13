"""A scorer process on this machine, watched by a thread of its own: for a service without Ray."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from treeroll.scorers.base import Job, ScoreResult
from treeroll.scorers.process import ScorerProcess
from treeroll.scorers.worker import WorkerLost, score_batch


class LocalWorker:
    """See `Worker`."""

    def __init__(self) -> None:
        self._process = ScorerProcess()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="treeroll-scorer")

    @classmethod
    async def start(cls) -> "LocalWorker":
        """A worker; its process starts with the first job."""
        return cls()

    async def score(self, jobs: list[Job]) -> list[ScoreResult]:
        """See `Worker`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, score_batch, self._process, jobs)
        except RuntimeError as error:  # the thread takes nothing more
            raise WorkerLost("it was closed") from error

    def close(self) -> None:
        """See `Worker`. The scorer's process goes with the thread that started it, if it has not gone before."""
        self._process.interrupt()
        self._thread.shutdown(wait=False, cancel_futures=True)
