"""The store without Redis: the same contract, nothing survives the process. For tests and simulations."""

import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from treeroll import clock
from treeroll.errors import StaleEpoch, StoreError
from treeroll.ranges import missing
from treeroll.store.base import (
    MAX_GROUPS,
    NOBODY,
    PAGE_NODES,
    Available,
    Commit,
    FeedMark,
    GroupPosition,
    GroupState,
    Heartbeat,
    Lease,
    Log,
    LogEntry,
    Move,
    Step,
    StoredTree,
    TreePage,
    Unacknowledged,
    lost_after,
    marked,
)
from treeroll.store.commit_args import changed, consecutive, hole
from treeroll.store.keys import KEPT_HAPPENINGS, KEPT_POINTS
from treeroll.store.memory_group import MemoryGroup
from treeroll.store.memory_log import MemoryLog
from treeroll.store.refusals import (
    beyond_feed,
    expired_state,
    late_group,
    lost_entries,
    many_groups,
    missing_node,
    moved_group,
    shared_otherwise,
    step_is_done,
    step_too_far,
)


@dataclass(slots=True)
class _Tree:
    header: bytes | None = None
    nodes: list[bytes] = field(default_factory=list)
    journal: list[bytes] = field(default_factory=list)
    rewards: dict[str, bytes] = field(default_factory=dict)
    fed: bool = False


class MemoryStore:
    """All state in dicts of this object. Several owners share it by holding the same object."""

    durability = "none"
    address = "memory"
    url: str | None = None

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds; leases expire by it."""
        self._clock = clock
        self._epoch = self._commits = self._line = 0
        self._secret = secrets.token_bytes(32)
        self._runs: dict[str, bytes] = {}
        self._tasks: dict[str, dict[str, tuple[str, str]]] = {}
        self._history: dict[str, dict[str, str]] = {}
        self._memory: dict[str, dict[str, str]] = {}
        self._trees: dict[str, _Tree] = {}
        self._feeds: dict[str, list[str]] = {}
        self._opened: dict[str, list[FeedMark]] = {}
        self._groups: dict[str, dict[str, MemoryGroup]] = {}
        self._expired: dict[str, int] = {}
        self._ended: dict[str, float] = {}
        self._beats = 0
        self._weights: dict[str, bytes] = {}
        self._models: dict[str, bytes] = {}
        self._sessions: dict[str, bytes] = {}
        self._snapshot: bytes | None = None
        self._points: deque[tuple[str, bytes]] = deque(maxlen=KEPT_POINTS)
        self._last_point = 0
        self._logs = {"ticks": MemoryLog(), "happenings": MemoryLog()}

    async def open(self, after: int = 0, heard: Heartbeat | None = None) -> int:
        if heard is not None and heard != (await self.heartbeat() or NOBODY):
            raise StaleEpoch(f"{self.address} was opened by this process as epoch {self._epoch} meanwhile")
        self._epoch, self._commits = max(self._epoch, after) + 1, 0
        if after:
            self._line = self._epoch
        for run_id, feed in self._feeds.items():
            if feed:
                self._opened[run_id] = marked(self._opened.get(run_id, []), self._epoch, len(feed))
        return self._epoch

    async def line(self) -> int:
        return self._line

    async def heartbeat(self) -> Heartbeat | None:
        return Heartbeat(self._epoch, self._commits, "this process", self._beats) if self._epoch else None

    async def beat(self, epoch: int) -> None:
        self._check_epoch(epoch)
        self._beats += 1

    async def secret(self) -> bytes:
        return self._secret

    async def close(self) -> None:
        pass

    async def commit(self, commit: Commit, epoch: int) -> None:
        self._check_epoch(epoch)
        added = self._new_nodes(commit)  # all that can be refused is refused before the first change
        self._commits += 1
        self._runs |= commit.runs
        self._weights |= commit.weights
        self._models |= commit.models
        self._sessions |= commit.sessions
        for run_id, tasks in commit.tasks.items():
            self._tasks.setdefault(run_id, {}).update(tasks)
        for run_id, history in commit.history.items():
            self._history.setdefault(run_id, {}).update(history)
        for run_id, parts in commit.memory.items():
            self._memory.setdefault(run_id, {}).update(parts)
        for tree_id, header in commit.trees.items():
            self._tree(tree_id).header = header
        for tree_id in commit.anew:
            tree = self._tree(tree_id)
            tree.nodes, tree.journal, tree.rewards = [], [], {}
        for tree_id, records in added.items():
            self._tree(tree_id).nodes += records
        for tree_id, entries in commit.journal.items():
            self._tree(tree_id).journal += entries
        for tree_id, rewards in commit.rewards.items():
            self._tree(tree_id).rewards |= rewards
        for run_id, entry in commit.ticks.items():
            self._logs["ticks"].add(entry, commit.ticks_kept, run_id)
        self._logs["happenings"].add(commit.happenings, KEPT_HAPPENINGS)
        for run_id, tree_id in commit.feed:
            self._append(run_id, tree_id)

    async def log_end(self, log: Log) -> int:
        return self._logs[log].place

    async def load_log(self, log: Log, after: int, most: int) -> list[LogEntry]:
        return self._logs[log].behind(after, most)

    def _check_epoch(self, epoch: int) -> None:
        if self._epoch == 0:
            raise StoreError("the memory store must be opened before the first commit")
        if epoch < self._epoch:
            raise StaleEpoch(f"the memory store belongs to epoch {self._epoch} now: epoch {epoch} may write no more")
        if epoch > self._epoch:
            raise StoreError(f"the memory store was opened under epoch {self._epoch}, not {epoch}: commit under that")

    def _new_nodes(self, commit: Commit) -> dict[str, list[bytes]]:
        """Node records to append to each tree; those stored already must be the same, and are left out."""
        added = {}
        for tree_id, rows in commit.nodes.items():
            first, records = consecutive(tree_id, rows)
            stored = self._trees[tree_id].nodes if tree_id in self._trees and tree_id not in commit.anew else []
            if first > len(stored):
                raise hole(tree_id, first, len(stored) - 1)
            for number, (old, new) in enumerate(zip(stored[first:], records, strict=False), first):
                if old != new:
                    raise changed(tree_id, number)
            added[tree_id] = records[len(stored) - first :]
        return added

    def _append(self, run_id: str, tree_id: str) -> None:
        tree = self._tree(tree_id)
        if not tree.fed:
            feed = self._feeds.setdefault(run_id, [])
            if not feed:
                self._opened[run_id] = [(self._epoch, 0)]  # as if it had been there
            feed.append(tree_id)
            tree.fed = True
            tree.journal = []

    def _tree(self, tree_id: str) -> _Tree:
        return self._trees.setdefault(tree_id, _Tree())

    async def save_snapshot(self, snapshot: bytes, point: bytes, epoch: int) -> None:
        self._check_epoch(epoch)
        self._snapshot = snapshot
        self._last_point = max(self._last_point + 1, int(1000 * clock.wall()))
        self._points.append((f"{self._last_point}-0", point))

    async def load_snapshot(self) -> bytes | None:
        return self._snapshot

    async def load_points(self, after: str = "", most: int = 1000) -> list[tuple[str, bytes]]:
        last = int(after.partition("-")[0] or 0)
        later = ((name, point) for name, point in self._points if int(name.partition("-")[0]) > last)
        return list(islice(later, most))

    async def used(self) -> float | None:
        return None

    async def run_ids(self) -> list[str]:
        return list(self._runs)

    async def load_runs(self) -> dict[str, bytes]:
        return dict(self._runs)

    async def load_run(self, run_id: str) -> bytes | None:
        return self._runs.get(run_id)

    async def load_tasks(self, run_id: str) -> dict[str, tuple[str, str]]:
        return dict(self._tasks.get(run_id, {}))

    async def load_history(self, run_id: str) -> dict[str, str]:
        return dict(self._history.get(run_id, {}))

    async def load_memory(self, run_id: str) -> dict[str, str]:
        return dict(self._memory.get(run_id, {}))

    async def load_weights(self) -> dict[str, bytes]:
        return dict(self._weights)

    async def load_models(self) -> dict[str, bytes]:
        return dict(self._models)

    async def load_sessions(self) -> dict[str, bytes]:
        return dict(self._sessions)

    async def load_tree(self, tree_id: str) -> StoredTree | None:
        return self._stored(tree_id)

    def _stored(self, tree_id: str) -> StoredTree | None:
        tree = self._trees.get(tree_id)
        if tree is None or tree.header is None:
            return None
        return StoredTree(tree.header, list(tree.nodes), dict(tree.rewards))

    async def tree_pages(self, tree_id: str) -> AsyncIterator[TreePage]:
        if (tree := self._stored(tree_id)) is None:
            return
        for first in range(0, max(1, len(tree.nodes)), PAGE_NODES):
            here = range(first, first + PAGE_NODES)
            rewards = {key: reward for key, reward in tree.rewards.items() if int(key.partition(":")[0]) in here}
            yield TreePage(first, b"" if first else tree.header, tree.nodes[here.start : here.stop], rewards)

    async def load_trees(self, tree_ids: list[str]) -> list[StoredTree | None]:
        return [self._stored(tree_id) for tree_id in tree_ids]

    async def load_journals(self, tree_ids: list[str]) -> list[list[bytes]]:
        return [list(self._trees[tree_id].journal) if tree_id in self._trees else [] for tree_id in tree_ids]

    async def load_nodes(self, paths: list[tuple[str, list[int]]]) -> list[list[bytes]]:
        found = []
        for tree_id, numbers in paths:
            tree = self._trees.get(tree_id)
            nodes = tree.nodes if tree else []
            for number in numbers:
                if not 0 <= number < len(nodes):
                    raise missing_node(tree_id, number)
            found.append([nodes[number] for number in numbers])
        return found

    async def feed_length(self, run_id: str) -> int:
        return len(self._feeds.get(run_id, []))

    async def feed_entries(self, run_id: str) -> list[str]:
        return self._feeds.get(run_id, [])[self._expired.get(run_id, 0) :]

    async def open_group(self, run_id: str, group: str, *, latest: bool) -> GroupPosition:
        return self._position(run_id, self._began(run_id, group, latest=latest))

    async def move_group(self, run_id: str, group: str, move: Move) -> GroupPosition:
        known = self._group(run_id, group)
        if known.move_id != move.move_id:
            self._check_move(run_id, group, move)
            self._feeds.setdefault(run_id, [])
            groups = self._groups.setdefault(run_id, {})
            is_there = move.by_ranks and group in groups and known.is_at(move)
            self._check_room(run_id, group)
            known = groups.setdefault(group, known)
            if not is_there:
                known.move(move)
        return self._position(run_id, known)

    def _position(self, run_id: str, group: MemoryGroup) -> GroupPosition:
        return replace(group.position(), opened=self._opened.get(run_id, []))

    def _check_move(self, run_id: str, group: str, move: Move) -> None:
        named, entries, gone = move.acknowledged, len(self._feeds.get(run_id, [])), self._expired.get(run_id, 0)
        if named and named[-1][1] > entries:
            raise beyond_feed(run_id, group, named[-1][1], entries)
        for seen in move.seen:
            left = lost_after(self._opened.get(run_id, []), seen)
            if left is not None:
                raise lost_entries(run_id, group, seen[1], left)
        if left_out := missing(named, gone):
            raise expired_state(run_id, group, gone, left_out)

    def _check_room(self, run_id: str, group: str) -> None:
        groups = self._groups.get(run_id, {})
        if len(groups) >= MAX_GROUPS and group not in groups:
            raise many_groups(run_id, group, len(groups))

    def _began(self, run_id: str, group: str, *, latest: bool = False) -> MemoryGroup:
        known = self._groups.get(run_id, {}).get(group)
        if known is not None:
            return known
        entries, gone = len(self._feeds.setdefault(run_id, [])), self._expired.get(run_id, 0)
        self._check_room(run_id, group)
        if gone and not latest:
            raise late_group(run_id, group, gone)
        made = MemoryGroup(delivered=entries if latest else 0)
        return self._groups.setdefault(run_id, {}).setdefault(group, made)

    async def lease(
        self, run_id: str, group: str, consumer: str, count: int, lease_s: float, epoch: int | None = None
    ) -> list[Lease]:
        if count <= 0:
            return []
        state, feed = self._began(run_id, group), self._feeds[run_id]
        if epoch is not None and epoch != state.epoch:
            raise moved_group(run_id, group, state.epoch)
        lent = state.lend(len(feed), consumer, count, self._clock(), lease_s)
        return [Lease(str(name), feed[name.seq - 1], name.seq, name.delivery) for name in lent]

    async def renew(self, run_id: str, group: str, lease_ids: list[str], lease_s: float) -> list[str]:
        held, deadline = self._unmoved(run_id, group, lease_ids), self._clock() + lease_s
        return [text for text in lease_ids if not held.renew(text, deadline)]

    async def ack(self, run_id: str, group: str, lease_ids: list[str]) -> list[str]:
        held = self._unmoved(run_id, group, lease_ids)
        return [text for text in lease_ids if not held.ack(text)]

    async def release(self, run_id: str, group: str, lease_ids: list[str]) -> list[str]:
        return [text for text in lease_ids if not self._group(run_id, group).release(text)]

    async def release_all(self, run_id: str, group: str, consumer: str) -> None:
        self._group(run_id, group).release_all(consumer)

    async def group_state(self, run_id: str, group: str) -> GroupState:
        return self._group(run_id, group).state(len(self._feeds.get(run_id, [])), self._clock())

    async def unacknowledged(self, run_id: str, group: str) -> Unacknowledged:
        state = self._group(run_id, group)
        return Unacknowledged(state.delivered, sorted(state.lent))

    async def settled(self, run_id: str) -> int:
        return min((group.settled() for group in self._groups.get(run_id, {}).values()), default=0)

    async def expire(self, run_id: str, upto: int, epoch: int) -> list[str]:
        self._check_epoch(epoch)
        done, settled = self._expired.get(run_id, 0), await self.settled(run_id)
        gone = self._feeds.get(run_id, [])[done : min(upto, settled)]
        if gone:
            self._expired[run_id] = done + len(gone)
        for tree_id in gone:
            self._trees.pop(tree_id, None)
        return gone

    async def expired(self, run_id: str) -> int:
        return self._expired.get(run_id, 0)

    async def all_expired(self) -> dict[str, int]:
        return dict(self._expired)

    async def ended_s(self, run_id: str, epoch: int, *, anew: bool = False) -> float:
        self._check_epoch(epoch)
        now = self._clock()
        since = self._ended.setdefault(run_id, now)
        if anew:
            since = self._ended[run_id] = now
        return now - since

    async def delete_run(self, run_id: str, epoch: int) -> int:
        self._check_epoch(epoch)
        tasks = self._tasks.pop(run_id, {})
        for tree_id, _ in tasks.values():
            self._trees.pop(tree_id, None)
        self._logs["ticks"].forget(run_id)
        parts: list[dict[str, Any]] = [self._runs, self._history, self._feeds, self._groups, self._expired]
        parts += [self._ended, self._memory, self._opened]
        for part in parts:
            part.pop(run_id, None)
        return len(tasks)

    async def group_names(self, run_id: str) -> list[str]:
        return list(self._groups.get(run_id, {}))

    async def available(self, run_id: str, group: str, count: int, epoch: int) -> Available:
        state, feed, now = self._began(run_id, group), self._feeds[run_id], self._clock()
        self._check_group(run_id, group, epoch)
        entries = [(seq, feed[seq - 1]) for seq in state.available(len(feed), count, now)]
        return Available(entries, state.on_lease(now))

    async def find_step(self, run_id: str, group: str, number: int, rank: int, world: int, epoch: int) -> Step:
        steps = self._group(run_id, group).steps
        return self._step(run_id, group, number or steps.first_of(rank, world), epoch)

    async def take_step(self, run_id: str, group: str, step: Step, seqs: list[int], epoch: int) -> Step | None:
        there = self._step(run_id, group, step.number, epoch)
        if not there.world:
            entries = len(self._feeds.get(run_id, []))
            if not self._group(run_id, group).take_step(step, seqs, entries, self._clock()):
                return None
            return replace(step, taken_now=True)
        return there

    async def share_step(self, run_id: str, group: str, step: Step, world: int, epoch: int) -> Step:
        there = self._step(run_id, group, step.number, epoch)
        if there.world and there.world == world:
            taken = self._group(run_id, group).steps.out[step.number]
            if taken.acked:
                raise shared_otherwise(run_id, group, step.number, step.world, there.world)
            taken.step = step
        return self._step(run_id, group, step.number, epoch)

    async def ack_share(self, run_id: str, group: str, number: int, rank: int, world: int, epoch: int) -> bool:
        state = self._check_group(run_id, group, epoch)
        if state.steps.is_done(number):
            return True
        there = self._step(run_id, group, number, epoch)
        if not there.world:
            raise step_too_far(run_id, group, number, state.steps.last)
        if there.world != world:
            raise shared_otherwise(run_id, group, number, world, there.world)
        return state.ack_share(number, rank)

    def _step(self, run_id: str, group: str, number: int, epoch: int) -> Step:
        steps = self._check_group(run_id, group, epoch).steps
        if steps.is_done(number):
            raise step_is_done(run_id, group, number)
        if number > steps.last + 1:
            raise step_too_far(run_id, group, number, steps.last)
        return steps.found(number)

    def _check_group(self, run_id: str, group: str, epoch: int) -> MemoryGroup:
        found = self._group(run_id, group)
        if found.epoch != epoch:
            raise moved_group(run_id, group, found.epoch)
        return found

    def _unmoved(self, run_id: str, group: str, lease_ids: list[str]) -> MemoryGroup:
        """The group; GroupMoved if a lease is of an earlier epoch."""
        found = self._group(run_id, group)
        if found.has_old(lease_ids):
            raise moved_group(run_id, group, found.epoch)
        return found

    def _group(self, run_id: str, group: str) -> MemoryGroup:
        """The group; an empty one, which is not kept, if there is none."""
        return self._groups.get(run_id, {}).get(group) or MemoryGroup()
