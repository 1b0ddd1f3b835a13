"""What the service says of itself once a second, for whoever watches it; see `watch.proto`.

A snapshot is made between ticks from the core's own numbers and goes to the store beside the commits: a store that is
slow skips snapshots, never ticks.
"""

import asyncio
import logging
import math
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import nlargest

from treeroll import __version__, clock
from treeroll.coordinator import records
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.coordinator.replica_speed import Speed
from treeroll.coordinator.run_totals import RunTotals
from treeroll.coordinator.scoring import Scoring
from treeroll.coordinator.status import reason, replica_state, rest_s
from treeroll.coordinator.watched_groups import WatchedGroups
from treeroll.core.model.branch import BranchState, Outcome
from treeroll.core.model.events import LossKind
from treeroll.core.model.pool import Pool
from treeroll.core.model.run import Run
from treeroll.errors import StoreError
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.pb.v1 import watch_pb2 as watch

log = logging.getLogger(__name__)

EVERY_S = 1.0
# The event loop's lateness is looked at this often, seconds.
LAG_S = 0.1
MOST_RUNS = 32
# Replicas that one look at them takes in, before others have their turn.
SLICE = 200
# Losses of a replica within so many seconds are recent.
RECENT_S = 600.0


class Snapshots:
    """Says once a second how one life of the service is."""

    def __init__(
        self,
        coordinator: Coordinator,
        replicas: ReplicaPlane,
        scoring: Scoring,
        restarts: Mapping[str, int],
        kept: Callable[[str], int | None],
        look: Callable[[watch.Snapshot, Sequence[watch.GroupFigures]], None] = lambda point, groups: None,
    ) -> None:
        """`restarts`: how often each replica has been started again; `kept`: see `Prospects`; `look` gets each point,
        with the latest figures of groups, and may add to it."""
        self._look = look
        self._coordinator, self._replicas, self._scoring = coordinator, replicas, scoring
        self._restarts, self._kept = restarts, kept
        self._since = clock.wall()
        self._host = socket.gethostname()
        self._totals = RunTotals(coordinator.state.runs, self._since)
        self._groups = WatchedGroups(coordinator.store)
        self._speeds: dict[str, Speed] = {}
        self._lag_s = 0.0
        self._next_look: asyncio.TimerHandle | None = None
        self._outages = 0
        self._shown_runs: list[Run] = []
        coordinator.outage.on_change.append(self._outage_changed)

    async def run(self) -> None:
        """Say it until cancelled."""
        while True:
            try:
                self._forget()
                await self._say()
            except Exception:  # trees grow on, whatever is wrong with what is said of them
                self._coordinator.figures.unsaid += 1
                log.exception("nobody was told how the service is")
            await self._pause()

    def _forget(self) -> None:
        self._replicas.forget()
        for name in self._speeds.keys() - self._replicas.sessions.keys():
            del self._speeds[name]

    async def _say(self) -> None:
        snapshot, point = await self.take()
        try:
            await self._coordinator.store.save_snapshot(snapshot, point, self._coordinator.epoch)
            await self._groups.look(self._shown_runs)
        except StoreError as error:  # the coordinator itself finds out what that means
            log.debug("nobody was told how the service is: %s", error)

    async def _pause(self) -> None:
        self._look_again()
        try:
            await asyncio.sleep(EVERY_S)
        finally:
            if self._next_look is not None:
                self._next_look.cancel()

    def _look_again(self, due: float = math.inf) -> None:
        now = clock.monotonic()
        self._lag_s = max(self._lag_s, now - due)
        self._next_look = asyncio.get_running_loop().call_later(LAG_S, self._look_again, now + LAG_S)

    def _outage_changed(self) -> None:
        self._outages += self._coordinator.outage.since is not None

    async def take(self) -> tuple[bytes, bytes]:
        """The service as it is now, and the point of its history, serialised."""
        said = self._point()
        self._look(said, self._groups.figures)
        point = said.SerializeToString()
        said.runs.extend(map(_record, self._shown_runs))
        said.groups.extend(self._groups.figures)
        said.groups_at = self._groups.at
        said.scorers.extend(self._scorers())
        said.violations.extend(self._violations())
        names = sorted(self._replicas.sessions)
        for start in range(0, len(names), SLICE):
            if start:
                await asyncio.sleep(0)
            said.replicas.extend(map(self._replica, names[start : start + SLICE]))
        return said.SerializeToString(), point

    def _point(self) -> watch.Snapshot:
        coordinator, state = self._coordinator, self._coordinator.state
        totals = self._totals.look(state.runs)
        self._shown_runs = self._shown(state.runs)
        return watch.Snapshot(
            at=clock.wall(),
            epoch=coordinator.epoch,
            since=self._since,
            version=__version__,
            pid=os.getpid(),
            host=self._host,
            durability=coordinator.store.durability,
            draining=state.draining,
            store_used=coordinator.store_used,
            store_full=state.store_full,
            store_losses=coordinator.recovered.lost.times,
            growing_trees=len(state.trees),
            waiting_tasks=state.waiting_tasks,
            loop=self._loop(),
            totals=totals,
            pools=self._pools(),
            known_runs=len(state.runs) + len(coordinator.ended.unread),
            waiting_scores=self._scoring.waiting,
        )

    def _shown(self, runs: Mapping[str, Run]) -> list[Run]:
        active = [run for run_id, run in runs.items() if run_id not in self._totals.settled]
        shown = nlargest(MOST_RUNS, active, key=_created)
        if len(shown) < MOST_RUNS:
            shown += nlargest(MOST_RUNS - len(shown), self._totals.settled.values(), key=_created)
        return shown

    def _loop(self) -> watch.LoopFigures:
        coordinator, figures = self._coordinator, self._coordinator.figures
        lag_s, self._lag_s = self._lag_s, 0.0
        return watch.LoopFigures(
            inbox=coordinator.inbox,
            ticks=figures.ticks,
            commit_s=figures.commit_s.take(),
            tick_records=figures.tick_records.take(),
            decision_s=figures.decision_s.take(),
            fenced_reports=coordinator.state.fenced,
            outages=self._outages,
            lag_max_s=lag_s,
        )

    def _pools(self) -> list[watch.PoolFigures]:
        state = self._coordinator.state
        found = {name: self._pool(pool) for name, pool in state.pools.items()}
        for _, branch in state.grants.values():  # of replicas that have not come back to this coordinator, too
            if branch.state is BranchState.STOPPING:
                found[branch.model].stopping += 1
            else:
                found[branch.model].running += 1
        for entries in (*state.blocked.values(), *state.doomed.values()):
            for *_, branch in entries:
                found[branch.model].waiting_budget += branch.state is BranchState.PENDING
        for waiting in state.throttled.values():
            for *_, branch in waiting:
                found[branch.model].waiting_rate += branch.state is BranchState.PENDING
        for live in state.trees.values():
            if live.held:
                judging = min(live.judging, len(live.held))
                found[live.task.model].held += len(live.held) - judging
                found[live.task.model].waiting_judge += judging
        for pool in found.values():
            pool.waiting_engine = min(pool.waiting_engine, pool.running)
            pool.running -= pool.waiting_engine
        return list(found.values())

    def _pool(self, pool: Pool) -> watch.PoolFigures:
        """All but what `_pools` counts. `waiting_engine` is as engines last said."""
        members, sessions = pool.members, self._replicas.sessions
        beats = [sessions[one.replica_id].heartbeat for one in members if one.replica_id in sessions]
        model = self._replicas.models.get(pool.name)
        queues = [pool.anywhere, *(cell.queue for cell in pool.quarantine.cells)]
        queues += [replica.queue for replica in members]
        return watch.PoolFigures(
            name=pool.name,
            model=model.engine.model if model is not None else "",
            replicas=len(members),
            ready_replicas=sum(not replica.rests for replica in members),
            kept_replicas=self._kept(pool.name),
            slots=sum(replica.slots for replica in members),
            trees=pool.trees,
            waiting_engine=sum(beat.waiting for beat in beats),
            waiting_slot=sum(entry[-1].state is BranchState.PENDING for queue in queues for entry in queue.heap),
            weight_version=pool.weights.current.version,
            kv_usage_max=max((beat.kv_usage for beat in beats), default=0.0),
            kv_usage_mean=sum(beat.kv_usage for beat in beats) / len(beats) if beats else 0.0,
            preempted=sum(beat.preempted for beat in beats),
            generated_tokens=sum(beat.generated_tokens for beat in beats),
            finished_grants=pool.outcomes[Outcome.FINISHED],
            stopped_grants=pool.outcomes[Outcome.STOPPED],
            lost_grants=pool.outcomes[Outcome.LOST],
            credit_grants=pool.outcomes[Outcome.CREDIT],
            held_grants=pool.outcomes[Outcome.HELD],
            forgotten_losses=self._coordinator.figures.forgotten_losses[pool.name],
            drained_grants=pool.outcomes[Outcome.DRAINED],
            left_replicas=pool.ends[LossKind.LEFT],
            drained_replicas=pool.ends[LossKind.DRAINED],
            preempted_replicas=pool.ends[LossKind.PREEMPTED],
        )

    def _replica(self, name: str) -> watch.ReplicaFigures:
        coordinator = self._coordinator
        session, replica = self._replicas.sessions[name], coordinator.state.replicas.get(name)
        beat, losses = session.heartbeat, coordinator.figures.losses.get(name)
        figures = watch.ReplicaFigures(
            replica_id=name,
            incarnation=session.hello.incarnation,
            pool=session.hello.pool,
            state=replica_state(replica, coordinator.state.draining),
            reason=reason(replica) if replica else session.lost,
            retry_s=rest_s(replica.health) if replica else 0.0,
            branches=len(replica.grants) if replica else 0,
            slots=session.hello.engine.slots,
            running=beat.running,
            waiting=beat.waiting,
            kv_usage=beat.kv_usage,
            preempted=beat.preempted,
            generated_tokens=beat.generated_tokens,
            reported_tokens=session.reported_tokens,
            tokens_per_s=self._speed(name, session.hello.incarnation, beat.generated_tokens),
            silent_s=clock.monotonic() - session.last_heard,
            restarts=self._restarts.get(name, 0),
            weight_version=replica.weights.loaded.version if replica else 0,
            origin=session.hello.origin,
        )
        if losses is not None:
            figures.losses, figures.recent_losses = losses.times, losses.since(clock.monotonic() - RECENT_S)
            figures.lost_at, figures.lost_cause = losses.wall, losses.cause
        return figures

    def _speed(self, name: str, incarnation: int, generated: int) -> float | None:
        known = self._speeds.get(name)
        if known is None or known.incarnation != incarnation:
            known = self._speeds[name] = Speed(incarnation)
        return known.per_s(clock.monotonic(), generated)

    def _scorers(self) -> Iterator[watch.ScorerFigures]:
        for name, figures in sorted(self._scoring.figures.items()):
            counts = figures.counts
            yield watch.ScorerFigures(
                scorer=name,
                scored=counts.scored,
                failed=counts.errors.total(),
                abstained=counts.abstained,
                seconds=figures.seconds.take(),
                error=figures.error,
            )

    def _violations(self) -> Iterator[watch.BrokenPromise]:
        for invariant, broken in sorted(self._coordinator.figures.broken.items()):
            yield watch.BrokenPromise(invariant=invariant, times=broken.times, at=broken.wall, detail=broken.detail)


def _created(run: Run) -> float:
    return run.created


def _record(run: Run) -> api.Run:
    record = records.run_record(run)
    record.ClearField("config_json")
    return record
