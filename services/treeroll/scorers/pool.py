"""Scoring on Ray: several workers, batches, and an answer for every request."""

import asyncio
import logging
from collections.abc import Sequence

from treeroll.errors import Unavailable
from treeroll.scorers.backlog import Backlog, Pending
from treeroll.scorers.base import ErrorKind, Job, ScoreCounts, ScoreRequest, ScoreResult
from treeroll.scorers.guard import describe, one_line
from treeroll.scorers.worker import StartWorker, Worker, WorkerLost

MAX_BATCH = 64  # items per call: a Ray call costs about 1 ms
MAX_OPEN = 8192  # requests accepted and not yet settled; `score` waits for room beyond
MAX_LOSSES = 2  # workers lost under one item before it gets an error
MAX_BACKOFF_S = 30.0  # between attempts to start a worker

log = logging.getLogger(__name__)


class ScorerPool:
    """A fixed number of workers fed from one backlog. All methods belong to one event loop."""

    def __init__(self, workers: int = 1, start_worker: StartWorker | None = None) -> None:
        """`start_worker`: what a worker is; None: an actor on Ray."""
        self.counts = ScoreCounts()
        self._size = workers
        self._start_worker = start_worker or _start_ray_worker
        self._backlog = Backlog()
        self._room = asyncio.Semaphore(MAX_OPEN)
        self._open: set[asyncio.Future[ScoreResult]] = set()
        self._workers: list[Worker] = []  # one per lane
        self._lanes: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all workers and wait until they answer. Unavailable if one does not. Idempotent."""
        if self._lanes:
            return
        self._workers = await self._start_all()
        self._lanes = [asyncio.create_task(self._serve(lane)) for lane in range(self._size)]

    async def stop(self) -> None:
        """Kill all workers; whoever still waits for a result gets Unavailable. Idempotent."""
        lanes, self._lanes = self._lanes, []
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
        for worker in self._workers:  # here and not in the lanes: one cancelled before its first step runs nothing
            worker.close()
        for result in self._open:
            if not result.done():
                result.set_exception(_stopped())

    async def score(
        self, requests: Sequence[ScoreRequest], timeout_s: float = 10.0, *, first: bool = False
    ) -> list[ScoreResult]:
        """One result per request, in order; `timeout_s` is for each, once its scorer is loaded. `first`: before others.

        Waits for room when too much is under way. Unavailable if the pool does not run or stops meanwhile: nothing
        is then known about the requests, and nothing must be recorded as their error.
        """
        results: list[asyncio.Future[ScoreResult]] = []
        try:
            for request in requests:
                results.append(await self._submit(Job(request.scorer, request.item, timeout_s), first))
            return await asyncio.gather(*results)
        finally:
            for result in results:
                if not result.cancel() and not result.cancelled():
                    result.exception()  # seen: asyncio need not report it

    @property
    def open_requests(self) -> int:
        """Accepted and not yet settled; at most MAX_OPEN."""
        return len(self._open)

    async def _start_all(self) -> list[Worker]:
        """All workers, or none and the first failure."""
        starting = [asyncio.create_task(self._start_worker()) for _ in range(self._size)]
        try:
            return await asyncio.gather(*starting)
        except BaseException:  # cancellation too: what has started must not stay
            for task in starting:
                task.cancel()
            for outcome in await asyncio.gather(*starting, return_exceptions=True):
                if not isinstance(outcome, BaseException):
                    outcome.close()
            raise

    async def _submit(self, job: Job, first: bool) -> "asyncio.Future[ScoreResult]":
        await self._room.acquire()
        if not self._lanes:
            self._room.release()
            raise _stopped()
        result: asyncio.Future[ScoreResult] = asyncio.get_running_loop().create_future()
        self._open.add(result)
        result.add_done_callback(self._closed)
        if first:
            self._backlog.put_back([Pending(job, result)])
        else:
            self._backlog.append(Pending(job, result))
        return result

    def _closed(self, result: "asyncio.Future[ScoreResult]") -> None:
        self._open.discard(result)
        self._room.release()

    async def _serve(self, lane: int) -> None:
        """One worker's lane, over all its replacements."""
        while True:
            batch = await self._backlog.take(MAX_BATCH, self._size)
            if not await self._score_batch(self._workers[lane], batch):
                self._workers[lane].close()
                self._workers[lane] = await self._replace()

    async def _score_batch(self, worker: Worker, batch: list[Pending]) -> bool:
        """Whether the worker lives on. Every item is settled or back in the backlog."""
        try:
            results = await worker.score([pending.job for pending in batch])
            if not results:
                raise WorkerLost("it returned nothing")
        except WorkerLost as lost:
            log.warning("a scorer worker was lost with %d items: %s", len(batch), lost)
            self._retry(batch, str(lost))
            return False
        except Exception as error:  # a bug of ours; the lane must live, and its items must get an answer
            log.exception("a scorer worker failed unexpectedly")
            self._retry(batch, type(error).__name__)
            return False
        for pending, result in zip(batch, results, strict=False):
            self._settle(pending, result)
        self._backlog.put_back(batch[len(results) :])
        return True

    def _retry(self, batch: list[Pending], cause: str) -> None:
        for pending in batch:
            pending.losses += 1
        for pending in batch:
            if pending.losses >= MAX_LOSSES:
                error = f"scorer worker lost {MAX_LOSSES} times on this item: {cause}"
                self._settle(pending, ScoreResult.failed(ErrorKind.LOST, one_line(error)))
        self._backlog.put_back([pending for pending in batch if not pending.result.done()])

    def _settle(self, pending: Pending, result: ScoreResult) -> None:
        if not pending.result.done():  # done: its caller was cancelled
            pending.result.set_result(result)
            self.counts.add(result)

    async def _replace(self) -> Worker:
        """Start a worker, however long it takes; a cluster that is full or down must not fail items."""
        delay = 0.5
        while True:
            try:
                return await self._start_worker()
            except Exception as error:  # Unavailable, and whatever Ray raises while it goes down
                log.warning("no scorer worker: %s; next attempt in %.1f s", describe(error), delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, MAX_BACKOFF_S)


async def _start_ray_worker() -> Worker:
    from treeroll.scorers.ray_worker import RayWorker  # here: importing Ray takes a second

    return await RayWorker.start()


def _stopped() -> Unavailable:
    return Unavailable("the scorer pool is not running; start it, or try again after the restart")
