"""What a service gives back: trees that every group has acknowledged and runs that have ended, each after a time, and
runs that clients delete."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable

from treeroll import clock
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.turn import Turn
from treeroll.core.model.events import RunDeleted
from treeroll.core.model.run import RunState
from treeroll.errors import StaleEpoch, StoreError, UnknownRun
from treeroll.pb.v1 import rollout_pb2 as api

log = logging.getLogger(__name__)

# Feeds are looked at four times while a tree is kept, but not more or less often than this, seconds.
SHORTEST_S, LONGEST_S = 1.0, 60.0


class Retention:
    """Removes trees and runs from the store. `turn` is held by whatever else writes to trees that have ended."""

    def __init__(self, coordinator: Coordinator, keep_s: float | None, keep_finished_s: float | None = None) -> None:
        """`keep_s`: how long a tree stays after its last acknowledgement, seconds; `keep_finished_s`: a run after its
        end, and after the last word of a consumer. None: for ever."""
        self._coordinator = coordinator
        self._keep_s = keep_s
        self._keep_finished_s = keep_finished_s
        self._heard: set[str] = set()  # runs whose consumers spoke since they were last looked at
        self.on_deleted: Callable[[str], None] = lambda run_id: None
        # Per run, when so many trees at the beginning of its feed were first seen to be acknowledged by all.
        self._seen: dict[str, deque[tuple[float, int]]] = {}
        self.turn = Turn(coordinator)
        self.expired: Counter[str] = Counter(coordinator.recovered.expired)
        """Trees that have expired, by run."""
        self.expired_trees = 0
        """The same of all runs, deleted ones too."""
        self.deleted_runs = 0

    async def run(self) -> None:
        """Let trees and runs go until cancelled. A store that does not answer is asked again the next time."""
        times = [keep_s for keep_s in (self._keep_s, self._keep_finished_s) if keep_s is not None]
        if not times:
            return
        while True:
            await asyncio.sleep(min(max(min(times) / 4, SHORTEST_S), LONGEST_S))
            try:
                if self._keep_s is not None:
                    await self.sweep(clock.monotonic())
                await self.sweep_runs()
            except StaleEpoch:
                raise
            except StoreError as error:
                log.warning("trees and runs that could go stay for now: %s", error)

    def heard(self, run_id: str) -> None:
        """A consumer of the run spoke: its trees are wanted."""
        self._heard.add(run_id)

    async def sweep_runs(self) -> None:
        """Remove the runs that ended and that nobody asked for, if their time is over; of earlier lives, too."""
        if self._keep_finished_s is None:
            return
        coordinator = self._coordinator
        for run_id in await coordinator.store.run_ids():
            if not await self._has_ended(run_id):
                continue
            anew = run_id in self._heard
            self._heard.discard(run_id)
            if await coordinator.store.ended_s(run_id, coordinator.epoch, anew=anew) < self._keep_finished_s:
                continue
            tasks = await self.delete(run_id)
            log.info(
                "run %s is deleted, with %d tasks: nobody has asked for its trees for %g s (store.keep_finished_s)",
                run_id, tasks, self._keep_finished_s,
            )  # fmt: skip

    async def _has_ended(self, run_id: str) -> bool:
        if run_id in self._coordinator.ended.unread:
            return True
        run = self._coordinator.state.runs.get(run_id)
        if run is not None:
            return run.state is not RunState.OPEN and not run.waiting and not run.growing
        record = api.Run.FromString(await self._coordinator.store.load_run(run_id) or b"")
        return record.state != RunState.OPEN.value and not record.waiting and not record.growing

    async def sweep(self, now: float) -> None:
        """Remove the trees whose time is over; `now` is in seconds on any clock that does not jump."""
        runs, unread = self._coordinator.state.runs, self._coordinator.ended.unread
        may_expire = [
            run_id
            for run_id, run in runs.items()
            if run.state is RunState.OPEN or self.expired[run_id] != len(run.tasks)
        ]
        may_expire += [run_id for run_id, run in unread.items() if self.expired[run_id] != run.tasks]
        for run_id in may_expire:
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
        """Remove a run that has ended, or one of an earlier life that is suspended; the number of its tasks.

        RunBusy for one that has not ended, UnknownRun.
        """
        coordinator = self._coordinator
        async with self.turn:
            if run_id in coordinator.state.runs:
                await coordinator.call(RunDeleted(run_id))  # after this nothing is committed for it
            elif await coordinator.store.load_run(run_id) is None:
                raise UnknownRun(f"there is no run '{run_id}' to delete")
            tasks = await coordinator.store.delete_run(run_id, coordinator.epoch)
            if run_id in coordinator.state.suspended:  # its pools may be other models from here on
                await coordinator.call(RunDeleted(run_id))
            coordinator.recovered.suspended.pop(run_id, None)
            coordinator.ended.unread.pop(run_id, None)
            coordinator.recovered.lost.runs.pop(run_id, None)
        self._seen.pop(run_id, None)
        self.expired.pop(run_id, None)
        self._heard.discard(run_id)
        self.deleted_runs += 1
        self.on_deleted(run_id)
        return tasks
