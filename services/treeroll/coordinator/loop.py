"""The coordinator's loop: what gathered while the last commit was on its way becomes the next one.

A tick takes every waiting event through the pure core, makes the result durable with one atomic commit, and only then
acknowledges reports, answers calls and carries out effects. So nothing is acknowledged that a crash could undo
(NoAckedLoss), and batches grow by themselves under load. While the store is away the tick waits, and with it all
events: replicas run out of credit, and calls are refused.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from treeroll import clock
from treeroll.coordinator.ended_runs import EndedRuns
from treeroll.coordinator.figures import LoopFigures
from treeroll.coordinator.gc_tuning import YoungCollector
from treeroll.coordinator.hearing import Hearing
from treeroll.coordinator.outage import LONGEST_S, Outage
from treeroll.coordinator.persist import CommitBuilder
from treeroll.coordinator.recovered import Recovered
from treeroll.coordinator.session_marks import Mark, records
from treeroll.coordinator.start_messages import StartOrders
from treeroll.coordinator.tick_log import TickLog
from treeroll.core.model.effects import (
    Command,
    DropReplica,
    Effect,
    EmitTree,
    JudgePath,
    ReplicaJudged,
    ScoreLeaf,
    StartBranch,
)
from treeroll.core.model.events import AlarmRang, Event, TasksSubmitted, Ticked
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.state import State
from treeroll.core.scheduling.assign import assign, unfinished
from treeroll.core.step import alarm, apply
from treeroll.errors import BrokenInvariant, CallerError, StaleEpoch, StoreDown, StoreError, TreerollError
from treeroll.failpoints import reach
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.records.events import Event as Happening
from treeroll.store.base import Commit, Store
from treeroll.tracing.tracer import Tracer

log = logging.getLogger(__name__)

T = TypeVar("T")

# Events waiting for the loop. Replicas stop by themselves when their run-ahead credit is used up, long before this.
INBOX_LIMIT = 100_000
# About the most records in one tick, so that a burst cannot delay acknowledgements without bound.
TICK_LIMIT = 8192
# An owner with nothing to write says so this often, seconds, and so finds out that the store is another's, or empty.
HEARTBEAT_S = 1.0
# An alarm that rings a little early must not ring on and on; one for a year ahead is set again and again.
SHORTEST_ALARM_S, LONGEST_ALARM_S = 0.001, 3600.0


class CommandSink(Protocol):
    """The session of one replica incarnation, as far as the loop needs it."""

    def start(self, command: wire.StartBranch) -> None:
        """Queue the start of a branch."""
        ...

    def send(self, command: Command) -> None:
        """Queue another command."""
        ...

    def drop(self, lost: DropReplica) -> None:
        """End the session: the replica lost its lease, or a newer life of it is here."""
        ...


@dataclass(slots=True)
class Item:
    """One thing in the inbox: events that belong together, and what to do once they are durable."""

    events: list[Event]
    done: Callable[[TreerollError | None], None] | None = None
    # A commit made outside the core (late rewards), to go in order with the others.
    extra: Commit | None = None
    # When it happened, which may be long before its tick if a commit was slow: leases are judged by this.
    at: float = field(default_factory=clock.monotonic)
    waited: bool = False  # holds a place in the inbox
    withdrawn: bool = False  # its caller was told to try again, before a tick took it
    beat: bool = False  # to be committed although there is nothing to write
    # Of the session that it came by, once it is durable.
    mark: Mark | None = None

    @property
    def weight(self) -> int:
        """What it adds to a commit, about, in records."""
        first = self.events[0] if self.events else None
        return len(first.tasks) if isinstance(first, TasksSubmitted) else len(self.events)


@dataclass(slots=True)
class Coordinator:
    """Owns the state and is its only writer. `sessions`: (replica, incarnation) -> where commands go."""

    state: State
    store: Store
    epoch: int
    builder: CommitBuilder
    orders: StartOrders
    score: Callable[[LiveTree, int], None]
    on_emit: Callable[[str], None] = lambda run_id: None
    on_tick: Callable[[], None] = lambda: None
    on_weights: Callable[[], None] = lambda: None
    sessions: dict[tuple[str, int], CommandSink] = field(default_factory=dict)
    figures: LoopFigures = field(default_factory=LoopFigures)
    outage: Outage = field(default_factory=Outage)
    hearing: Hearing = field(init=False)
    store_used: float | None = None
    """Share of the store's memory; None: not known, or without a limit."""
    log: TickLog | None = None
    """None: nothing is said of what was decided and happened."""
    tracer: Tracer | None = None
    """None: nothing is traced."""
    recovered: Recovered = field(default_factory=Recovered)
    ended: EndedRuns = field(default_factory=EndedRuns)
    marks: dict[str, Mark] = field(default_factory=dict)
    """Sessions of the last coordinator, by replica."""
    _calls: dict[asyncio.Future[None], Item] = field(default_factory=dict)
    # Of each run, the record that was last made durable.
    _acknowledged: dict[str, bytes] = field(default_factory=dict)
    _committed_at: float = 0.0
    _heartbeat: asyncio.TimerHandle | None = None
    _garbage: YoungCollector = field(default_factory=YoungCollector)
    _alarm: asyncio.TimerHandle | None = None
    _alarm_at: float | None = None
    _inbox: asyncio.Queue[Item] = field(default_factory=asyncio.Queue)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(INBOX_LIMIT))

    def __post_init__(self) -> None:
        self.hearing = Hearing(self.state.settings.lease_s / 4)
        self.outage.on_change.append(self._refuse_calls)
        self.outage.on_over.append(self._note_pause)

    async def post(self, item: Item) -> None:
        """Queue events; waits while the inbox is full."""
        await self._room.acquire()
        item.waited = True
        self._inbox.put_nowait(item)

    @property
    def violations(self) -> dict[str, int]:
        """How often each named invariant was seen broken."""
        return {invariant: broken.times for invariant, broken in self.figures.broken.items()}

    @property
    def inbox(self) -> int:
        """Items that wait for their tick."""
        return self._inbox.qsize()

    def post_nowait(self, item: Item) -> None:
        """Queue what is rare and cannot wait: a loss, the passing of time."""
        self._inbox.put_nowait(item)

    async def confirm(self) -> None:
        """Return once the store has taken a commit that was sent after now: until then it is this owner's. StoreDown as
        for `call`; never, if it is another's."""
        await self.call(beat=True)

    async def call(
        self,
        event: Event | None = None,
        extra: Commit | None = None,
        *,
        beat: bool = False,
        mark: Mark | None = None,
    ) -> None:
        """Apply an event and return once it is durable; raises what the core raised.

        Also what changes nothing is answered by the store's owner alone: another one knows what was, not what is.

        StoreDown while the store is away: then it has not been applied, or is part of the commit that is on its way.
        """
        if self.outage.since is not None:
            raise self.outage.refusal()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: TreerollError | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        item = self._calls[future] = Item(
            [event] if event else [], done, extra, beat=beat or event is not None, mark=mark
        )
        try:
            await self.post(item)
            await future
        finally:
            del self._calls[future]

    def is_durable(self, run_id: str, record: bytes) -> None:
        """The store has this record of a run, from another owner's time."""
        self._acknowledged[run_id] = record

    def durable_run(self, run_id: str) -> api.Run:
        """A run as the store has it, for who cannot wait for the commit that is on its way. StoreDown if the store does
        not have it yet."""
        if self.outage.over:
            raise self.outage.refusal()
        waits = self.outage.reason or "it has not answered the last commit yet"
        if (stored := self._acknowledged.get(run_id)) is None:
            raise StoreDown(f"run '{run_id}' is not in the store yet: {waits}; try again in {LONGEST_S:g} s")
        record = api.Run.FromString(stored)
        record.held_up = f"the service waits for its store: {waits}"
        return record

    @property
    def acknowledged(self) -> Mapping[str, bytes]:
        """The records of runs that the store has answered for."""
        return self._acknowledged

    async def read(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` reads of growing trees, however long the store is away. For who is not the loop.

        StoreError if it is not there, unless that is because the store went back in time, which ends the loop.
        """
        try:
            return await self.outage.ride_out(ask)
        except StoreError:
            heard = asyncio.Event()
            self.post_nowait(Item([], lambda error: heard.set(), beat=True))
            await heard.wait()
            raise

    def _refuse_calls(self) -> None:
        """At the beginning of an outage: nobody waits for its end. What is repeated later must not be done twice over
        what came between, so what no tick has taken is taken back."""
        if self.outage.since is None:
            return
        for future, item in self._calls.items():
            if not future.done():
                item.withdrawn = True
                future.set_exception(self.outage.refusal())

    def note(self, event: Happening) -> None:
        """Something happened that an operator may want to know: it is said with the next commit."""
        if self.log is not None:
            self.log.note(event)

    def _note_pause(self, seconds: float, reason: str) -> None:
        self.note(Happening("store_paused", seconds=seconds, detail=reason))

    def _build(self, effects: list[Effect]) -> Commit:
        commit = self.builder.build(effects)
        if self.log is not None:
            self.log.write(commit, effects, self.state.runs)
        return commit

    async def take_up(self, effects: list[Effect]) -> None:
        """Before it runs: make durable and carry out what follows from going on where another one ended."""
        effects = effects + assign(self.state)
        if commit := self._build(effects):
            await self._commit(commit)
        await self._perform(effects)

    async def run(self) -> None:
        """Tick until cancelled. A store that refuses a commit for good ends the coordinator, whose memory is ahead."""
        self._beat()
        try:
            await self._run()
        finally:
            if self._heartbeat is not None:
                self._heartbeat.cancel()

    async def _run(self) -> None:
        while True:
            items = [await self._inbox.get()]
            weight = items[0].weight
            while not self._inbox.empty() and weight < TICK_LIMIT:
                items.append(self._inbox.get_nowait())
                weight += items[-1].weight
            for item in items:
                if item.waited:
                    self._room.release()
            await self._tick([item for item in items if not item.withdrawn])
            self.figures.ticked(weight, clock.monotonic() - items[0].at)
            self._garbage.took(weight)
            if unfinished(self.state) and self._inbox.empty():
                self.post_nowait(Item([]))
            self._set_alarm()

    def _beat(self) -> None:
        """Have something committed, unless something was a moment ago; again when that is too long ago."""
        wait_s = self._committed_at + HEARTBEAT_S - clock.monotonic()
        if wait_s <= 0:
            wait_s = HEARTBEAT_S
            if self.outage.since is None:
                self.post_nowait(Item([], beat=True))
        self._heartbeat = asyncio.get_running_loop().call_later(wait_s, self._beat)

    def _set_alarm(self) -> None:
        """Be there when the core wants to be woken: when budget has come with time, or time is over."""
        at = alarm(self.state)
        if at == self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = None, at
        if at is not None:
            delay_s = min(max(at - clock.monotonic(), SHORTEST_ALARM_S), LONGEST_ALARM_S)
            self._alarm = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, None
        self.post_nowait(Item([AlarmRang()]))

    async def keep_time(self) -> None:
        """Let leases run out, but not because this process itself was held up and heard nobody, nor while the store is
        away: what replicas were granted in the commit that waits, they have not been told."""
        held_up = self.hearing.look()
        while True:
            await asyncio.sleep(self.hearing.every_s)
            if self.hearing.look() or self.outage.since is not None:
                held_up = True
                continue
            self.post_nowait(Item([Ticked(anew=held_up)]))
            held_up = False

    async def _tick(self, items: list[Item]) -> None:
        effects: list[Effect] = []
        outcomes: list[tuple[Item, TreerollError | None]] = []
        extras = []
        for item in items:
            error = self._apply(item, effects)
            outcomes.append((item, error))
            if item.extra is not None and error is None:
                extras.append(item.extra)
        effects += assign(self.state)
        commit = self._build(effects)
        for extra in extras:
            commit.trees.update(extra.trees)
            for tree_id, rewards in extra.rewards.items():
                commit.rewards.setdefault(tree_id, {}).update(rewards)
        if marks := [item.mark for item, error in outcomes if item.mark is not None and error is None]:
            commit.sessions |= records(marks, self.state.replicas)
        if commit or any(item.beat for item in items):
            await self._commit(commit)
        self.on_tick()
        if commit.weights:
            self.on_weights()
        for item, error in outcomes:
            if item.done is not None:
                item.done(error)
        await self._perform(effects)

    async def _commit(self, commit: Commit) -> None:
        reach("commit.before")
        sent_at = clock.monotonic()
        await self.outage.ride_out(lambda: self.store.commit(commit, self.epoch))
        reach("commit.after")
        self._committed_at = clock.monotonic()
        self.figures.commit_s.add(self._committed_at - sent_at)
        self._acknowledged |= commit.runs
        if len(self._acknowledged) > len(self.state.runs) + len(self.ended.unread):
            known = [*self.state.runs, *self.ended.unread]
            self._acknowledged = {name: self._acknowledged[name] for name in known if name in self._acknowledged}

    async def _orders(self, starts: list[StartBranch]) -> list[wire.StartBranch]:
        """With the prefixes that have to be read. LostWork if one is not there because the store went back in time."""
        try:
            return await self.outage.ride_out(lambda: self.orders.make(starts))
        except StoreError:
            await self._commit(Commit())
            raise

    def _apply(self, item: Item, effects: list[Effect]) -> TreerollError | None:
        for event in item.events:
            try:
                effects += apply(self.state, event, item.at)
                if self.log is not None:
                    self.log.heard(event)
            except (CallerError, StaleEpoch) as error:
                return error
            except BrokenInvariant as error:
                self.figures.broke(error.invariant, str(error))
                self.note(Happening("broken", reason=str(error.invariant), detail=str(error)))
                log.error("%s", error)
                return error
        return None

    async def _perform(self, effects: list[Effect]) -> None:
        starts = [effect for effect in effects if isinstance(effect, StartBranch)]
        orders = iter(await self._orders(starts) if starts else [])
        reach("perform.between")
        for effect in effects:
            match effect:
                case StartBranch():
                    order = next(orders)
                    if (sink := self.sessions.get((effect.replica_id, effect.incarnation))) is not None:
                        sink.start(order)
                case Command():
                    if (sink := self.sessions.get((effect.replica_id, effect.incarnation))) is not None:
                        sink.send(effect)
                case DropReplica():
                    self.figures.lost(effect.replica_id, effect.cause, effect.kind)
                    if (sink := self.sessions.pop((effect.replica_id, effect.incarnation), None)) is not None:
                        sink.drop(effect)
                    else:
                        name, incarnation = effect.replica_id, effect.incarnation
                        log.warning("replica %s incarnation %d lost its lease: %s", name, incarnation, effect.cause)
                case ReplicaJudged(replica_id=name, standing=standing, reason=reason):
                    log.warning("replica %s is %s: %s", name, standing, reason or "its branches end well")
                case ScoreLeaf(live=live, node=node) | JudgePath(live=live, node=node):
                    self.score(live, node)
                case EmitTree(live=live):
                    self.figures.tree_ended(live.task.model, live.ended_at - live.planted_at)
                    self.on_emit(live.run.spec.run_id)
                    if self.tracer is not None:
                        self.tracer.ended(live.tree_id, live.status)
        reach("perform.after")
