"""Tasks for an open run, a few at a time, so that it stays busy for as long as wanted."""

import asyncio
from collections.abc import Sequence

from treeroll.chaos.ordeal import some_tasks
from treeroll.chaos.watch import Watch
from treeroll.client import AsyncRun
from treeroll.tasks import Task

# Tasks are submitted so many at a time, while fewer than that are under way: all slots stay taken.
PORTION, UNDER_WAY = 16, 32
LOOK_S = 0.02


class Feeder:
    """Submits to whoever serves, as a context; at the end it closes the run, unless something else went wrong."""

    def __init__(self, run: AsyncRun, watch: Watch) -> None:
        self._run, self._watch = run, watch
        self._over = False
        self.tasks: Sequence[Task] = ()
        """What has been submitted, in order."""

    async def __aenter__(self) -> "Feeder":
        self._feeding = asyncio.create_task(self._feed(), name="feeder")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over = True
        if kind is None:
            await self._feeding
            await self._run.close()
            return
        self._feeding.cancel()
        await asyncio.gather(self._feeding, return_exceptions=True)

    def check(self) -> None:
        """Raises why it cannot go on, if that is so."""
        if self._feeding.done():
            self._feeding.result()

    async def _feed(self) -> None:
        while not self._over:
            ended = self._watch.latest.ended if self._watch.latest else 0
            if len(self.tasks) - ended < UNDER_WAY:
                tasks = some_tasks(len(self.tasks) + PORTION)
                await self._run.submit(tasks[-PORTION:])
                self.tasks = tasks
            await asyncio.sleep(LOOK_S)
