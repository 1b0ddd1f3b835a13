"""Requests that wait for a worker."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from treeroll.scorers.base import Job, ScoreResult


@dataclass(slots=True)
class Pending:
    """A job somebody awaits."""

    job: Job
    result: "asyncio.Future[ScoreResult]"
    losses: int = 0  # workers lost under it


class Backlog:
    """First in, first out; what comes back goes to the front. Its users bound it (see `ScorerPool`)."""

    def __init__(self) -> None:
        self._queue: deque[Pending] = deque()
        self._filled = asyncio.Event()

    def append(self, pending: Pending) -> None:
        """Add at the end."""
        self._queue.append(pending)
        self._filled.set()

    def put_back(self, batch: Sequence[Pending]) -> None:
        """Return what was taken and not scored, in order, to the front."""
        self._queue.extendleft(reversed(batch))
        if batch:
            self._filled.set()

    async def take(self, most: int, sharers: int) -> list[Pending]:
        """Wait for work; take a fair share of it, at most `most`. What was lost once is taken alone.

        Alone, because one item may have brought the worker down; then the next loss has one suspect.
        """
        while True:
            self._drop_settled()
            if self._queue:
                return self._share(min(most, -(-len(self._queue) // sharers)))
            self._filled.clear()
            await self._filled.wait()

    def _share(self, size: int) -> list[Pending]:
        batch = [self._queue.popleft()]
        while self._queue and len(batch) < size and not (batch[0].losses or self._queue[0].losses):
            batch.append(self._queue.popleft())
        return batch

    def _drop_settled(self) -> None:
        """Forget jobs at the front whose caller has gone away."""
        while self._queue and self._queue[0].result.done():
            self._queue.popleft()
