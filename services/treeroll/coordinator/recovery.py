"""Going on where another coordinator ended: stored runs are read and rebuilt before anybody is answered.

Nothing is decided here: `core.recovery` grows the trees again, and what that leaves to do is committed like any tick.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from google.protobuf.message import DecodeError

from treeroll import clock
from treeroll.config import RunConfig
from treeroll.coordinator.allocation import own_history
from treeroll.coordinator.fitness import check_loads
from treeroll.coordinator.ground import difference, ground
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.recovered import Recovered
from treeroll.coordinator.restored_runs import restored_run
from treeroll.coordinator.session_marks import marks_of
from treeroll.coordinator.specs import check_inserts, run_config, run_spec
from treeroll.coordinator.stored_trees import ended_tree, header_of, remains_of, task_of
from treeroll.core.budget.accounts import charge_task
from treeroll.core.invariants import violations
from treeroll.core.model.events import GroupHeard
from treeroll.core.model.live_tree import LiveTree, TreeStatus
from treeroll.core.model.run import Run, RunSpec, RunState, TaskSpec
from treeroll.core.recovery import memories
from treeroll.core.recovery.rebuild import Rebuilt, rebuild
from treeroll.core.recovery.remains import RunRemains, TreeRemains
from treeroll.core.step import apply
from treeroll.errors import StoreError, TreerollError
from treeroll.failpoints import reach
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.pb.v1 import store_pb2 as stored
from treeroll.scorers.base import ScoringService
from treeroll.scorers.rules import ScorerRules
from treeroll.store.base import Store, StoredTree
from treeroll.tokenizer import Tokenizer

log = logging.getLogger(__name__)

# Trees that are read in one round trip.
READ_AT_ONCE = 100
WITH_SAMPLES = ("complete", "partial")

T = TypeVar("T")


class Suspended(Exception):
    """The service cannot go on with a run; a sentence says why."""


@dataclass(frozen=True, slots=True)
class Means:
    """What runs need of the service beside its coordinator."""

    tokenizer: Tokenizer
    scorers: ScoringService
    rules: ScorerRules


async def recover(coordinator: Coordinator, means: Means, scorer_timeouts: dict[str, float]) -> Recovered:
    """Take up every run that has not ended, before the coordinator runs and before replicas or clients come.

    Runs that cannot go on are left as they are: one of them must stop neither the others nor the service.
    """
    reach("open.after")
    coordinator.ended.read = partial(_take_up_ended, coordinator, means, scorer_timeouts)
    began, store, recovered = clock.monotonic(), coordinator.store, coordinator.recovered
    recovered.expired = await store.all_expired()
    remains: list[RunRemains] = []
    for run_id, written in sorted((await store.load_runs()).items()):
        if coordinator.ended.leave(_record(written)):
            coordinator.is_durable(run_id, written)
        elif (one := await _readable(coordinator, means, scorer_timeouts, run_id)) is not None:
            remains.append(one)
        else:
            coordinator.state.suspended[run_id] = _pools(written)
    reach("recovery.read")
    coordinator.state.now = clock.monotonic()
    coordinator.marks = marks_of(await store.load_sessions())
    sessions = {name: mark.incarnation for name, mark in coordinator.marks.items()}
    rebuilt = await asyncio.to_thread(rebuild, coordinator.state, remains, sessions)
    reach("recovery.rebuilt")
    for one in remains:
        await _restore_pace(coordinator, one.run)
    await coordinator.take_up(rebuilt.effects)
    for invariant, detail in violations(coordinator.state):
        coordinator.figures.broke(invariant, detail)
        log.error("%s: %s", invariant, detail)
    _tell(recovered, rebuilt, len(remains), clock.monotonic() - began)
    return recovered


async def _readable(
    coordinator: Coordinator, means: Means, scorer_timeouts: dict[str, float], run_id: str
) -> RunRemains | None:
    """What is stored of a run; None for one that is suspended."""
    recovered = coordinator.recovered
    try:
        one, scorer_timeouts[run_id] = await _read_run(coordinator, means, run_id)
    except StoreError:
        raise
    except Exception as error:  # whatever a plugin raises, or a record that cannot be read
        recovered.owners[run_id] = _record(await coordinator.store.load_run(run_id) or b"").owner
        known = isinstance(error, Suspended | TreerollError)
        recovered.suspended[run_id] = str(error) if known else f"{type(error).__name__}: {error}"
        log.error("run '%s' is suspended: %s", run_id, recovered.suspended[run_id])
        return None
    return one


async def _take_up_ended(
    coordinator: Coordinator, means: Means, scorer_timeouts: dict[str, float], run_id: str
) -> None:
    """Somebody asks for a run that had ended."""
    one = await _readable(coordinator, means, scorer_timeouts, run_id)
    if one is None or run_id not in coordinator.ended.unread:  # or it was deleted meanwhile
        return
    coordinator.state.runs[run_id] = one.run
    await _restore_pace(coordinator, one.run)


def _record(written: bytes) -> api.Run:
    """An empty one if it cannot be read."""
    try:
        return api.Run.FromString(written)
    except DecodeError:
        return api.Run()


def _pools(written: bytes) -> tuple[str, ...]:
    """Those that a run's trees have branches in; none if that cannot be read."""
    try:
        return tuple(stored.RunMemory.FromString(_record(written).memory).pools)
    except DecodeError:
        return ()


def _tell(recovered: Recovered, rebuilt: Rebuilt, runs: int, seconds: float) -> None:
    recovered.runs, recovered.trees, recovered.nodes = runs, rebuilt.trees, rebuilt.nodes
    recovered.seconds, recovered.damaged = seconds, rebuilt.damaged
    for why in rebuilt.damaged.values():
        log.error("%s; it grows anew", why)
    if runs:
        trees, nodes = rebuilt.trees, rebuilt.nodes
        log.info("went on with %d runs, %d growing trees of %d nodes, after %.2f s", runs, trees, nodes, seconds)


async def _read_run(coordinator: Coordinator, means: Means, run_id: str) -> tuple[RunRemains, float]:
    """What is stored of a run, and how long its scorers may take. Raises whatever is in the way."""
    store = coordinator.store
    written = await store.load_run(run_id) or b""
    record = api.Run.FromString(written)
    tasks, fed = await store.load_tasks(run_id), set(await store.feed_entries(run_id))
    gone = await store.expired(run_id)
    unfinished = record.state == RunState.OPEN or len(fed) + gone < len(tasks)
    memory = stored.RunMemory.FromString(record.memory)
    if unfinished and not record.memory:
        raise Suspended("an earlier version of treeroll grew it, and stored too little of its trees; delete it")
    config = run_config(record.config_json, f"run '{run_id}'")
    spec = await _spec(coordinator, means, run_id, config)
    if unfinished and spec.fingerprint != memory.fingerprint:
        raise Suspended(
            "its policies are others now, by name, parameters or version, and would grow other trees than those that "
            "it has begun; start the service with those that it was created with, or delete it"
        )
    if unfinished and (why := difference(spec, memory)):
        raise Suspended(why)
    coordinator.is_durable(run_id, written)
    run = restored_run(record, spec, tasks)
    remembered = await store.load_memory(run_id)
    await asyncio.to_thread(memories.restore, run, remembered)
    return await _trees(store, run, fed), config.scorer_timeout_s


async def _spec(coordinator: Coordinator, means: Means, run_id: str, config: RunConfig) -> RunSpec:
    history = own_history(config, await coordinator.store.load_history(run_id))
    pools = tuple(coordinator.state.pools)
    # Plugins and scorers may have to be imported: not on the event loop.
    vocabulary, rules = means.tokenizer.vocab_size, means.rules
    spec = await asyncio.to_thread(run_spec, run_id, config, vocabulary, pools=pools, rules=rules, history=history)
    await check_loads(means.scorers, spec)
    check_inserts(spec, means.tokenizer)
    return replace(spec, ground=ground(spec, coordinator.builder, coordinator.orders.eos_token_ids))


@dataclass(slots=True)
class _Found:
    """The trees of a run that have not left, by what is to become of them."""

    run: Run
    waiting: list[TaskSpec] = field(default_factory=list)
    growing: list[TreeRemains] = field(default_factory=list)
    broken: list[tuple[TaskSpec, str]] = field(default_factory=list)
    held: list[LiveTree] = field(default_factory=list)

    def sort(self, digest: str, tree: StoredTree, journal: list[bytes]) -> None:
        """Take one of them."""
        header = header_of(tree)
        task = task_of(header, tree, digest)
        try:
            remains = remains_of(self.run, task, tree, journal)
        except Exception as error:  # a record that cannot be read
            self.broken.append((task, f"tree {task.tree_id} cannot be read: {type(error).__name__}: {error}"))
            return
        if header.status != TreeStatus.WAITING:
            placed = isinstance(remains, TreeRemains) and remains.planted.placed
            self.held.append(ended_tree(self.run, task, header, placed=placed))
        elif isinstance(remains, TreeRemains):
            self.growing.append(remains)
        else:
            self.waiting.append(task)
            if remains:
                self.run.carried[task.tree_id] = remains
                charge_task(self.run, task.task_id, remains)

    def left(self) -> list[int]:
        """Numbers of the tasks whose trees are in the feed, or were."""
        tasks = [*self.waiting, *(tree.task for tree in self.growing), *(task for task, _ in self.broken)]
        here = {task.number for task in (*tasks, *(live.task for live in self.held))}
        return [number for number in range(len(self.run.tasks)) if number not in here]


async def _trees(store: Store, run: Run, fed: set[str]) -> RunRemains:
    """The run with its trees that have not left."""
    found = _Found(run)
    open_ = [(tree_id, digest) for tree_id, digest in run.tasks.values() if tree_id not in fed]
    for part in _parts(open_):
        ids = [tree_id for tree_id, _ in part]
        trees, journals = await store.load_trees(ids), await store.load_journals(ids)
        await asyncio.to_thread(_sort, found, [digest for _, digest in part], trees, journals)
    left = found.left() if run.window is not None else []
    return RunRemains(run, found.waiting, found.growing, found.broken, found.held, left)


def _sort(found: _Found, digests: list[str], trees: list[StoredTree | None], journals: list[list[bytes]]) -> None:
    for digest, tree, journal in zip(digests, trees, journals, strict=True):
        if tree is not None:  # or it has expired
            found.sort(digest, tree, journal)


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), READ_AT_ONCE):
        yield items[at : at + READ_AT_ONCE]


async def _restore_pace(coordinator: Coordinator, run: Run) -> None:
    """How far consumers have come. Which trees of the feed were asked for by name is not known any more: if any group
    reads the feed, all that it has not acknowledged hold places; and otherwise none."""
    if run.pace is None:
        return
    store, run_id = coordinator.store, run.spec.run_id
    stands = {group: await store.unacknowledged(run_id, group) for group in await store.group_names(run_id)}
    if not stands:
        return
    floor = min(min(at.pending, default=at.delivered + 1) - 1 for at in stands.values())
    before = await store.expired(run_id)
    entries = list(enumerate(await store.feed_entries(run_id), before + 1))
    for part in _parts([entry for entry in entries if entry[0] > floor]):
        for (seq, tree_id), tree in zip(part, await store.load_trees([name for _, name in part]), strict=True):
            if tree is not None and header_of(tree).status in WITH_SAMPLES:
                run.pace.growing += 1  # which `fed` gives back
                run.pace.fed(tree_id, seq)
    for group, at in stands.items():
        apply(coordinator.state, GroupHeard(run_id, group, at.delivered, tuple(at.pending)), coordinator.state.now)
