"""The memory store behind faults. Numbers and tick, which Redis has against them, are as in `commit.lua`."""

import asyncio
import copy
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from treeroll.errors import LostWork, StoreDown
from treeroll.simulation.universe.faults import UNTIL_S, Faults
from treeroll.store.base import Commit, GroupPosition, Heartbeat, Lease, Move
from treeroll.store.memory import MemoryStore

# Seconds that an owner without an answer to its commits may go on counting: as in `store.redis_calls`.
LONGEST_TICK_S = 2.0
USUAL_S, SLOW_S = 0.02, 6.0
# What it loses when it forgets: all but the time.
_CONTENT = vars(MemoryStore()).keys() - {"_clock"}


# A process, and the epoch under which it has opened the store.
Owner = tuple[asyncio.AbstractEventLoop, int]


class Watcher(Protocol):
    """Who wants to know what the store does, and may end its owner there."""

    def point(self, where: str) -> None:
        """The owner is between two things that it does."""

    def note(self, what: str) -> None:
        """Something happened."""

    def forgot(self) -> None:
        """It lost some of what it had answered for."""

    def expired(self, tree_id: str, tree: Any) -> None:
        """A tree was removed, for all have acknowledged it."""

    def deletes(self, run_id: str) -> None:
        """A run is to be removed."""

    def lent(self, group: str, lease: Lease, lease_s: float) -> None:
        """An entry is lent."""

    def released(self, group: str, lease_id: str) -> None:
        """An entry is given back."""

    def moved(self, group: str, position: GroupPosition) -> None:
        """A group has another past."""

    def renewed(self, group: str, lease_id: str, lease_s: float) -> None:
        """A lease begins anew."""


class FaultyStore(MemoryStore):
    """Owners come one after the other, and share it."""

    def __init__(self, now: Callable[[], float], chance: random.Random, faults: Faults, watcher: Watcher) -> None:
        super().__init__(self.tick)
        self.faults = faults
        self.down_until = -1.0
        self._now, self._chance, self._watcher = now, chance, watcher
        self._tick, self._ticked_at = 0.0, 0.0
        self._number = 0
        """Of the last commit, counted from when the present owner opened."""
        self._sent: Counter[Owner] = Counter()
        self._answered: Counter[Owner] = Counter()
        """Commits, as their owners count them."""
        self._applied = 0
        self._loses_at = chance.randint(5, 60) if faults.forgotten or faults.emptied else 0
        self._before: dict[str, Any] = {}
        self.lost_at: float | None = None
        """When it lost what it had answered for."""

    def tick(self) -> float:
        """Seconds that owners have had: what leases are measured by."""
        return self._tick + min(self._now() - self._ticked_at, LONGEST_TICK_S)

    async def open(self, after: int = 0, heard: Heartbeat | None = None) -> int:
        self._check_up()
        self._number = 0
        self._tick, self._ticked_at = self.tick(), self._now()
        return await super().open(after, heard)

    async def commit(self, commit: Commit, epoch: int) -> None:
        slow = self._draw(self.faults.slow_store)
        await asyncio.sleep(SLOW_S if slow else USUAL_S * self._chance.random())
        self._watcher.point("commit.before")
        self._check_up()
        if self._draw(self.faults.unapplied):
            self._watcher.note("a commit is lost")
            raise StoreDown("the commit was lost on its way")
        if self._epoch >= epoch:
            self._check_epoch(epoch)
        owner = asyncio.get_running_loop(), epoch
        if not commit.number:
            self._sent[owner] += 1
            commit.number = self._sent[owner]
        if self._epoch < epoch or self._number < self._answered[owner]:
            raise LostWork(f"the store has commit {self._number}, and answered for {self._answered[owner]}")
        if commit.number > self._number:
            await super().commit(commit, epoch)
            self._number = commit.number
            self._tick, self._ticked_at = self.tick(), self._now()
        self._watcher.point("commit.after")
        if self._draw(self.faults.unanswered):
            self._watcher.note(f"the answer to commit {commit.number} is lost")
            raise StoreDown("no answer came")
        self._answered[owner] = commit.number
        self._forget()

    async def save_snapshot(self, snapshot: bytes, point: bytes, epoch: int) -> None:
        self._check_up()
        await super().save_snapshot(snapshot, point, epoch)

    def content(self) -> dict[str, Any]:
        """A copy of all that is in it."""
        return copy.deepcopy({name: getattr(self, name) for name in (*_CONTENT, "_number")})

    def _forget(self) -> None:
        """Once in its life it goes back to what it was some commits ago."""
        self._applied += 1
        if self._applied == self._loses_at - self.faults.forgotten:
            self._before = self.content()
        if self._applied != self._loses_at:
            return
        if self.faults.emptied:
            empty = vars(MemoryStore())
            self._before = {name: empty[name] for name in _CONTENT} | {"_number": 0}
        if self.faults.emptied or self._before.get("_epoch") == self._epoch:
            vars(self).update(self._before)
            self.lost_at = self._now()
            self._watcher.forgot()

    async def lease(
        self, run_id: str, group: str, consumer: str, count: int, lease_s: float, epoch: int | None = None
    ) -> list[Lease]:
        self._check_up()
        leases = await super().lease(run_id, group, consumer, count, lease_s, epoch)
        for lease in leases:
            self._watcher.lent(group, lease, lease_s)
        self._check_answered()
        return leases

    async def expire(self, run_id: str, upto: int, epoch: int) -> list[str]:
        self._check_up()
        self._check_epoch(epoch)
        kept = dict(self._trees)
        gone = await super().expire(run_id, upto, epoch)
        for tree_id in gone:
            self._watcher.expired(tree_id, kept[tree_id])
        self._check_answered()
        return gone

    async def delete_run(self, run_id: str, epoch: int) -> int:
        self._check_up()
        self._check_epoch(epoch)
        self._watcher.deletes(run_id)
        if self._draw(self.faults.unapplied):
            for tree_id, _ in list(self._tasks.get(run_id, {}).values())[::2]:
                self._trees.pop(tree_id, None)
            raise StoreDown("a run was deleted in part")
        tasks = await super().delete_run(run_id, epoch)
        self._check_answered()
        return tasks

    async def release(self, run_id: str, group: str, lease_ids: list[str]) -> list[str]:
        self._check_up()
        lost = await super().release(run_id, group, lease_ids)
        for lease_id in lease_ids:
            if lease_id not in lost:
                self._watcher.released(group, lease_id)
        self._check_answered()
        return lost

    async def renew(self, run_id: str, group: str, lease_ids: list[str], lease_s: float) -> list[str]:
        self._check_up()
        lost = await super().renew(run_id, group, lease_ids, lease_s)
        for lease_id in lease_ids:
            if lease_id not in lost:
                self._watcher.renewed(group, lease_id, lease_s)
        self._check_answered()
        return lost

    async def move_group(self, run_id: str, group: str, move: Move) -> GroupPosition:
        self._check_up()
        before = self._group(run_id, group).epoch
        position = await super().move_group(run_id, group, move)
        if position.epoch != before:
            self._watcher.moved(group, position)
        self._check_answered()
        return position

    async def ack(self, run_id: str, group: str, lease_ids: list[str]) -> list[str]:
        self._check_up()
        lost = await super().ack(run_id, group, lease_ids)
        self._check_answered()
        return lost

    def _check_up(self) -> None:
        if self._now() < self.down_until:
            raise StoreDown("it refuses everything")

    def _check_answered(self) -> None:
        """What was asked is done, and who asked may not learn of it."""
        if self._draw(self.faults.unanswered):
            raise StoreDown("no answer came")

    def _draw(self, share: float) -> bool:
        return share > 0 and self._now() < UNTIL_S and self._chance.random() < share


def _asked(name: str) -> Callable[..., Any]:
    """A method of the store that is done, or not, and whose answer may be lost."""
    method = getattr(MemoryStore, name)

    async def ask(self: FaultyStore, *args: Any, **named: Any) -> Any:
        self._check_up()
        answer = await method(self, *args, **named)
        self._check_answered()
        return answer

    return ask


for _name in (
    "beat", "load_run", "load_runs", "load_tasks", "load_history", "load_memory", "load_weights", "load_models",
    "load_tree", "load_trees", "load_journals", "load_nodes",
    "feed_entries", "open_group", "group_state", "unacknowledged", "settled",
    "expired", "all_expired", "ended_s", "group_names", "run_ids",
):  # fmt: skip
    setattr(FaultyStore, _name, _asked(_name))
