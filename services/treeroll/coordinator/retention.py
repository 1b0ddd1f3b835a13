"""What a service gives back: trees that every group has acknowledged, after a time, and runs that clients delete."""

import asyncio
import logging
from collections import Counter, deque

from treeroll import clock
from treeroll.coordinator.loop import Coordinator
from treeroll.core.model.events import RunDeleted
from treeroll.core.model.run import RunState
from treeroll.errors import StaleEpoch, StoreError, UnknownRun

log = logging.getLogger(__name__)

# Feeds are looked at four times while a tree is kept, but not more or less often than this, seconds.
SHORTEST_S, LONGEST_S = 1.0, 60.0


class Retention:
    """Removes trees and runs from the store. `turn` is held by whatever else writes to trees that have ended."""

    def __init__(self, coordinator: Coordinator, keep_s: float | None) -> None:
        """`keep_s`: how long a tree stays after its last acknowledgement, seconds; None: for ever."""
        self._coordinator = coordinator
        self._keep_s = keep_s
        # Per run, when so many trees at the beginning of its feed were first seen to be acknowledged by all.
        self._seen: dict[str, deque[tuple[float, int]]] = {}
        self.turn = asyncio.Lock()
        self.expired: Counter[str] = Counter()
        """Trees that have expired, by run."""
        self.expired_trees = 0
        """The same of all runs, deleted ones too."""
        self.deleted_runs = 0

    async def run(self) -> None:
        """Let trees expire until cancelled. A store that does not answer is asked again the next time."""
        if self._keep_s is None:
            return
        while True:
            await asyncio.sleep(min(max(self._keep_s / 4, SHORTEST_S), LONGEST_S))
            try:
                await self.sweep(clock.monotonic())
            except StaleEpoch:
                raise
            except StoreError as error:
                log.warning("trees that could expire stay for now: %s", error)

    async def sweep(self, now: float) -> None:
        """Remove the trees whose time is over; `now` is in seconds on any clock that does not jump."""
        for run_id, run in list(self._coordinator.state.runs.items()):
            if run.state is not RunState.OPEN and self.expired[run_id] == len(run.tasks):
                continue
            async with self.turn:  # a group that is moved back meanwhile would count with what it had
                settled = await self._coordinator.store.settled(run_id)
                seen = self._seen.setdefault(run_id, deque())
            if settled > (seen[-1][1] if seen else self.expired[run_id]):
                seen.append((now, settled))
            upto = 0
            while seen and seen[0][0] <= now - (self._keep_s or 0.0):
                _, upto = seen.popleft()
            if upto:
                await self._expire(run_id, upto)

    async def _expire(self, run_id: str, upto: int) -> None:
        async with self.turn:
            gone = await self._coordinator.store.expire(run_id, upto, self._coordinator.epoch)
        self.expired[run_id] += len(gone)
        self.expired_trees += len(gone)

    def start_again(self, run_id: str) -> None:
        """A group of the run has another past now: what it acknowledges again stays as long as if for the first time.

        To be called with `turn` held.
        """
        self._seen.pop(run_id, None)

    async def delete(self, run_id: str) -> int:
        """Remove a run that has ended, or one of an earlier life of the service; the number of its tasks.

        RunBusy for one that has not ended, UnknownRun.
        """
        coordinator = self._coordinator
        async with self.turn:
            if run_id in coordinator.state.runs:
                await coordinator.call(RunDeleted(run_id))  # after this nothing is committed for it
            elif await coordinator.store.load_run(run_id) is None:
                raise UnknownRun(f"there is no run '{run_id}' to delete")
            tasks = await coordinator.store.delete_run(run_id, coordinator.epoch)
        self._seen.pop(run_id, None)
        self.expired.pop(run_id, None)
        self.deleted_runs += 1
        return tasks
