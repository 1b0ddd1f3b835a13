"""The lives of a service on its store: coordinator, replica sessions, feed and what clients call.

A store that went back in time (it was emptied, or put back to an older state) ends a life, and the next one goes on
from what is there, as a service does that starts. Server, replicas with their engines, and scorers outlive it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Any, Protocol

from treeroll.autoscale.terms import Terms
from treeroll.coordinator import pool_models, weight_records
from treeroll.coordinator.api import RolloutsApi
from treeroll.coordinator.autoscaler import Autoscaler
from treeroll.coordinator.elastic import Elastic
from treeroll.coordinator.fleet_plane import FleetPlane
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.lost_work import Loss, Losses, what_is_gone
from treeroll.coordinator.outage import Outage
from treeroll.coordinator.prospects import Prospects
from treeroll.coordinator.recovery import Means, recover
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.coordinator.retention import Retention
from treeroll.coordinator.scoring import Scoring
from treeroll.coordinator.snapshots import Snapshots
from treeroll.coordinator.standby import Beats
from treeroll.coordinator.store_room import StoreRoom
from treeroll.coordinator.weights import restore, restore_models
from treeroll.core.model.events import RunCancelled, RunClosed
from treeroll.core.model.run import RunState
from treeroll.core.step import apply
from treeroll.errors import LostWork, cause_of
from treeroll.feed.feed import Feed
from treeroll.feed.seals import Seals
from treeroll.scorers.base import ScoringService
from treeroll.scorers.rules import ANYTHING, ScorerRules
from treeroll.store.base import Commit, Move, Store
from treeroll.tokenizer import Tokenizer

log = logging.getLogger(__name__)

# A store that was emptied knows no owner. One that had taken over, and the one before it that was held up and has not
# heard of that, may both find it so, and must not go on under one epoch: each leaves out as many as chance says, up to
# this.
EPOCHS = 1024


@dataclass(frozen=True, slots=True)
class Ground:
    """What all lives stand on. Times in seconds; None: for ever."""

    store: Store
    tokenizer: Tokenizer
    scorers: ScoringService
    make_coordinator: Callable[[int, Scoring], Coordinator]
    """Of an epoch, over the store."""
    heartbeat_s: float
    keep_weights: int
    keep_acknowledged_s: float | None = None
    keep_finished_s: float | None = None
    tokens: bool = False
    """Whether callers have tokens, and leases are sealed for them."""
    rules: ScorerRules = ANYTHING
    autoscale: Mapping[str, Terms] = field(default_factory=dict)
    """Of the pools whose replicas follow their demand."""
    chance: Random = field(default_factory=SystemRandom)


@dataclass(frozen=True, slots=True)
class Life:
    """One of them, ready to run."""

    coordinator: Coordinator
    replicas: ReplicaPlane
    fleets: FleetPlane
    retention: Retention
    rollouts: RolloutsApi
    scoring: Scoring
    snapshots: Snapshots
    autoscaler: Autoscaler

    async def run(self) -> None:
        """Until cancelled, or until something ends it for good."""
        coordinator = self.coordinator
        jobs: dict[str, Coroutine[Any, Any, None]] = {
            "coordinator": coordinator.run(),
            "clock": coordinator.keep_time(),
            "scoring": self.scoring.run(coordinator),
            "retention": self.retention.run(),
            "store room": StoreRoom(coordinator).run(),
            "snapshots": self.snapshots.run(),
            **{f"autoscaler {name}": self.autoscaler.follow(name) for name in self.autoscaler.pools},
        }
        try:
            async with asyncio.TaskGroup() as group:
                for name, job in jobs.items():
                    group.create_task(job, name=name)
        except BaseExceptionGroup as failures:
            raise cause_of(failures) from None

    def end(self, why: LostWork) -> None:
        """Its store went back in time: callers are told to come again, and replicas do."""
        self.coordinator.outage.end(str(why))
        self.replicas.end()


async def begin(ground: Ground, epoch: int, lost: Losses) -> Life:
    """A life of this epoch, which has taken up what is in the store."""
    timeouts: dict[str, float] = {}
    scoring, store = Scoring(ground.scorers, timeouts), ground.store
    coordinator = ground.make_coordinator(epoch, scoring)
    coordinator.recovered.lost = lost
    await restore(coordinator)
    await restore_models(coordinator)
    await recover(coordinator, Means(ground.tokenizer, ground.scorers, ground.rules), timeouts)
    plane = ReplicaPlane(coordinator, ground.heartbeat_s, ground.tokenizer, ground.chance)
    fleets = FleetPlane(coordinator, plane, ground.heartbeat_s)
    autoscaler = Autoscaler(coordinator, fleets, Elastic(coordinator, plane, fleets), ground.autoscale)
    prospects = Prospects(coordinator.state, autoscaler.kept, coordinator.outage)
    seals = Seals(await store.secret() if ground.tokens else None, await store.line())
    feed = Feed(store, prospects.outlook, prospects.terms, epoch, seals)
    coordinator.on_emit, feed.tracer = feed.notify, coordinator.tracer
    retention = Retention(coordinator, ground.keep_acknowledged_s, ground.keep_finished_s)
    rollouts = RolloutsApi(
        coordinator, plane, feed, ground.tokenizer, timeouts, fleets.restarts, retention, ground.scorers,
        ground.keep_weights, prospects, ground.rules, fleets, autoscaler.decision,
    )  # fmt: skip
    snapshots = Snapshots(coordinator, plane, scoring, fleets.restarts, fleets.kept, autoscaler.look)
    return Life(coordinator, plane, fleets, retention, rollouts, scoring, snapshots, autoscaler)


class Answering(Protocol):
    """Where callers come to: the service's `Door`."""

    def answer(
        self, rollouts: RolloutsApi, replicas: ReplicaPlane, fleets: FleetPlane, coordinator: Coordinator
    ) -> None:
        """These answer from here on."""
        ...


async def live(ground: Ground, door: Answering, life: Life, on_begun: Callable[[Life], None]) -> None:
    """Answer at the door, life after life, until cancelled or until one ends of anything but LostWork.

    `on_begun` gets each but the first, before it is asked anything.
    """
    while True:
        door.answer(life.rollouts, life.replicas, life.fleets, life.coordinator)
        try:
            await life.run()
        except LostWork as why:
            life.end(why)
            life = await _after(ground, life.coordinator, why)
        on_begun(life)


async def _after(ground: Ground, before: Coordinator, why: LostWork) -> Life:
    """The next life, also if the store goes away or back once more meanwhile."""
    outage = Outage()
    while True:
        log.error("%s: the service goes on from what is there", why)
        try:
            return await outage.ride_out(lambda: _taken_up(ground, before))
        except LostWork as again:
            why = again


async def _taken_up(ground: Ground, before: Coordinator) -> Life:
    store = ground.store
    epoch = await store.open(before.epoch + ground.chance.randrange(EPOCHS))
    beats = Beats(store, epoch)
    try:
        return await _recovered(ground, epoch, before)
    finally:
        await beats.stop()


async def _recovered(ground: Ground, epoch: int, before: Coordinator) -> Life:
    store, lost = ground.store, deepcopy(before.recovered.lost)
    gone = await what_is_gone(store, before.acknowledged)
    lost.add(gone)
    log.error("gone is %s", "; ".join(map(str, gone)) or "nothing that a run's record tells")
    for loss in gone:
        if loss.whole:  # but for what its consumers may have left there since
            await store.delete_run(loss.run_id, epoch)
    # What replicas have loaded is in force, whatever the store says; what they serve, where it does not say otherwise:
    # another owner may have had the store meanwhile, and runs of that may grow with another model.
    pools, known = before.state.pools.values(), await store.load_models()
    weights = {pool.name: weight_records.stored(pool) for pool in pools if pool.weights.current.version}
    models = {pool.name: pool_models.stored(pool) for pool in pools if pool.model and pool.name not in known}
    await store.commit(Commit(weights=weights, models=models), epoch)
    life = await begin(ground, epoch, lost)
    await _make_good(life.coordinator, gone)
    for run_id in [*life.coordinator.state.runs, *life.coordinator.ended.unread]:
        for group in await store.group_names(run_id):
            await _move_ranks(store, run_id, group, epoch)
    return life


async def _move_ranks(store: Store, run_id: str, group: str, epoch: int) -> None:
    """Global batches that are out may be forgotten, and others taken under their numbers: ranks begin anew."""
    at = await store.open_group(run_id, group, latest=False)
    if at.steps or at.steps_out:
        await store.move_group(run_id, group, Move(at.acknowledged, f"line {epoch}", at.steps))


async def _make_good(coordinator: Coordinator, gone: list[Loss]) -> None:
    """Runs that were closed or cancelled are so again; but one whose tasks are gone can have them again first."""
    state = coordinator.state
    for loss in gone:
        run = state.runs.get(loss.run_id)
        if run is None or run.state in (loss.state, RunState.CANCELLED):
            continue
        if loss.state == RunState.CANCELLED:
            await coordinator.take_up(apply(state, RunCancelled(loss.run_id), state.now))
        elif loss.state == RunState.CLOSED and not loss.tasks:
            await coordinator.take_up(apply(state, RunClosed(loss.run_id), state.now))
        elif loss.state == RunState.CLOSED:
            run.missing = loss.missing()
