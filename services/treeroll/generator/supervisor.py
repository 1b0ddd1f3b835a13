"""Keeps replicas alive: creates actors, notices death and silence, replaces what is lost, gives up on crash loops."""

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

from treeroll import clock
from treeroll.channels import Pass
from treeroll.errors import EngineError, InvalidInput, Unavailable
from treeroll.generator.actor import GeneratorReplica, Post
from treeroll.generator.affinity import asked_threads
from treeroll.generator.cause import Cause, as_cause, cause_of_end
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.failures import SHORT_LIFE_S, Failures
from treeroll.generator.last_words import SHOWN_LINES, tail
from treeroll.generator.ray_config import HeadGone
from treeroll.generator.ray_nodes import missing_for
from treeroll.generator.ray_room import Needs, needs_of, spreads
from treeroll.generator.ray_survivors import actor_name, adopted
from treeroll.generator.ray_watch import leaving_nodes
from treeroll.generator.seats import Roster, Seat

log = logging.getLogger(__name__)

KILL_TIMEOUT_S = 10.0
# A Ray actor runs this many of its methods at once; ours are few and short, except for serve().
MAX_CONCURRENCY = 16
TROUBLE_TIMEOUT_S = 5.0
# How often nodes that are to be taken away are looked for; what branches have on them if nobody says for how long; and
# how long before its time a replica should have ended.
NOTICED_S, UNSAID_S, MARGIN_S = 1.0, 600.0, 5.0
# How often it is looked whether a replica is to end, and how long after its time one that has not is killed.
LOOK_S, LATE_S = 0.5, 10.0
# A process that Ray has not begun for so long, seconds, is one that it finds no place for.
PLACED_S = 10.0


@dataclass(slots=True)
class _Life:
    """One incarnation of one replica."""

    seat: Seat
    incarnation: int
    actor: Any
    needs: Needs
    log_file: Path | None = None
    ready_at: float | None = None


@dataclass
class Supervisor:
    """Runs the replicas of all pools on a Ray that is initialised already.

    They are r0, r1, ... where pools have no names, else POOL-0, POOL-1, ..., each behind NAME- if there is a `name`.

    One task owns it: `run()` until `stop()` is called or it is cancelled. `on_lost(replica_id, incarnation, cause)` is
    called in that task when an incarnation is gone for good, before the next one starts.
    """

    config: GeneratorConfig
    coordinator_address: str
    on_lost: Callable[[str, int, Cause], None]
    first_incarnation: int = 1
    """Must be above any that the coordinator has seen, if it outlives this supervisor."""
    newest: Callable[[str], int] = lambda replica_id: 0
    """The highest incarnation of a replica that has been seen: a process may have come to more than its first."""
    logs: Path | None = None
    """Folder for what each incarnation writes, REPLICA-INCARNATION.log; None: it goes to Ray's logs."""
    admit: Callable[[str], Pass] = lambda replica_id: Pass()
    """With what a new process may be this replica."""
    cluster: bool = False
    """Whether the Ray has nodes that may be taken away."""
    name: str = ""
    """What the replicas' names begin with, where a service has several fleets."""
    kept_as: str = ""
    """By what name in a cluster the next fleet finds what this one leaves when it is killed; "": that is nothing."""
    alone_s: float = 0.0
    """How long that then waits for a fleet."""
    failure: EngineError | InvalidInput | Unavailable | None = None
    """Why a replica was given up, with the first cause; others may still work."""
    restarts: dict[str, int] = field(default_factory=dict)
    """How often each replica has been started again."""
    processes: dict[str, int] = field(default_factory=dict)
    """Of each replica what its latest process is known by to the coordinator."""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when every replica has been welcomed by the coordinator."""
    nodes: dict[str, str] = field(default_factory=dict)
    """Ray's id of the node of each living replica, once it is known."""
    actors: dict[str, Any] = field(default_factory=dict)
    """Actor handle of each living replica."""
    on_change: Callable[[], None] = lambda: None
    """Called when a replica is to end."""
    roster: Roster = field(init=False)
    """Which replicas there are to be."""
    _leaves: bool = False
    """It ends, and replicas do not: another fleet has them, or nobody can end them now."""
    _avoided: set[str] = field(default_factory=set)
    """Nodes on which nothing is started."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _running: asyncio.Event = field(default_factory=asyncio.Event)
    _done: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.roster = Roster(self.config.fleet(), f"{self.name}-" if self.name else "")
        for seat in self.roster.fill():
            self.restarts[seat.replica_id] = 0

    async def run(self) -> None:
        """Keep as many replicas alive as are wanted. Returns after stop().

        Raises EngineError when a replica cannot be started in the first place, or when all have been given up;
        InvalidInput when what somebody has set, installed or put there is the cause; Unavailable when another fleet of
        the same name has come, which has the replicas from then on, and when the cluster's head is gone.
        """
        self._running.set()
        try:
            lives = await self._adopt() if self.kept_as else {}
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch_nodes(), name="watch-nodes")
                self.roster.fill()
                seats = list(self.roster.seats.values())
                while not self._stopping.is_set():
                    for seat in seats:
                        self.restarts.setdefault(seat.replica_id, 0)
                        life = lives.pop(seat.replica_id, None)
                        group.create_task(self._keep(seat, life), name=f"keep-{seat.replica_id}")
                    await self._changed.wait()
                    self._changed.clear()
                    seats = self.roster.fill()
                watching.cancel()
        except* (EngineError, InvalidInput, Unavailable) as failures:
            raise self.failure or EngineError(str(failures)) from None
        finally:
            self._done.set()

    async def wait_ready(self) -> None:
        """Until every replica has been welcomed. Raises as `run` if one was given up before."""
        waits = [asyncio.create_task(event.wait()) for event in (self.ready, self._done)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        if self.failure is not None:
            raise self.failure

    async def stop(self) -> None:
        """Kill all actors and wait until run() has returned. Idempotent."""
        self._stopping.set()
        self._changed.set()
        if self._running.is_set():
            await self._done.wait()

    def scale(self, pool: str, wanted: int, first: Sequence[str], within_s: float) -> None:
        """Have so many replicas of a pool from now on; see Roster.scale."""
        self.roster.scale(pool, wanted, first, within_s)
        self._ends_changed()

    def drain(self, replica_id: str, process: int, within_s: float, cause: str, elsewhere: bool) -> None:
        """End a process, and start another replica in its place, at once; where it runs none, if `elsewhere`."""
        seat = self.roster.seats.get(replica_id)
        if seat is None or self.processes.get(replica_id) != process:
            return
        if elsewhere and replica_id in self.nodes:
            self._avoided.add(self.nodes[replica_id])
        self.roster.end(seat, within_s, cause)
        self._ends_changed()

    async def _adopt(self) -> dict[str, _Life]:
        """The lives that an earlier fleet has left, by the names of their seats."""
        lives = {}
        for name, one in (await adopted(self.kept_as, self.roster)).items():
            self.processes[name], self.actors[name] = one.post.process, one.actor
            seat = self.roster.seats[name]
            needs = needs_of(seat.config, ray.cluster_resources())
            lives[name] = _Life(seat, one.post.incarnation, one.actor, needs)
        self.restarts = {name: count for name, count in self.restarts.items() if name in self.roster.seats}
        if lives:
            log.info("goes on with what an earlier fleet has left: %s", ", ".join(sorted(lives)))
            self.on_change()
        return lives

    async def _watch_nodes(self) -> None:
        """Replicas on nodes that Ray says are to be taken away end in time, and others are started at once."""
        while self.cluster:
            await asyncio.sleep(NOTICED_S)
            try:
                leaving = await leaving_nodes()
            except HeadGone as gone:
                self._leaves, self.failure = True, gone
                raise
            except Exception as error:  # Ray's own way is not public: whatever it raises, replicas live on
                log.warning("Ray does not say which nodes are to be taken away: %s", error)
                continue
            told = [self._leave(name, leaving[node]) for name, node in self.nodes.items() if node in leaving]
            if any(told):
                self._ends_changed()

    def _leave(self, replica_id: str, at: float | None) -> bool:
        """Its node is taken away at this time, in seconds since the Unix epoch; None: nobody says when."""
        seat = self.roster.seats.get(replica_id)
        within_s = UNSAID_S if at is None else max(0.0, at - clock.wall() - MARGIN_S)
        return seat is not None and self.roster.end(seat, within_s, "its node is taken away", preempted=True)

    def _ends_changed(self) -> None:
        self._changed.set()
        self.on_change()

    async def _keep(self, seat: Seat, life: _Life | None) -> None:
        """`life`: the one that it has already."""
        try:
            await self._keep_alive(seat, life)
        finally:
            if not seat.given_up:
                self.roster.remove(seat)
                self.restarts.pop(seat.replica_id, None)
            self._changed.set()

    async def _keep_alive(self, seat: Seat, first: _Life | None) -> None:
        failures = Failures()
        ever_ready = False
        incarnation = self.first_incarnation - 1
        while True:
            life, first = first or self._create(seat, max(incarnation, self.newest(seat.replica_id)) + 1), None
            incarnation = life.incarnation
            cause = await self._live(life)
            if self._stopping.is_set() or cause is None:
                return
            if cause.taken_over:
                self.failure = Unavailable(f"{cause}, under the same name: this fleet ends, and leaves it all replicas")
                raise self.failure
            self._tell(life, cause)
            self.on_lost(life.seat.replica_id, incarnation, cause)
            if seat.until is not None:
                return
            if cause.preempted:
                self.restarts[seat.replica_id] += 1
                continue
            ever_ready = ever_ready or life.ready_at is not None
            if cause.lasting and not ever_ready:
                kind = InvalidInput if cause.bad_input else EngineError
                self._give_up(seat, kind(f"replica {life.seat.replica_id} cannot start: {cause}"))
                return
            if life.ready_at is not None and time.monotonic() - life.ready_at > SHORT_LIFE_S:
                failures = Failures()
            failures.add(str(cause), started=life.ready_at is not None)
            if failures.too_many:
                why = f"failed {failures.count} times in a row and is given up; the first cause was:"
                self._give_up(seat, EngineError(f"replica {life.seat.replica_id} {why} {failures.first_cause}"))
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), failures.backoff_s)
            if self._stopping.is_set() or seat.until is not None:
                return
            self.restarts[seat.replica_id] += 1

    def _tell(self, life: _Life, cause: Cause) -> None:
        log.warning("replica %s incarnation %d is lost: %s", life.seat.replica_id, life.incarnation, cause.sentence)
        if cause.log_end:
            log.warning("the log of replica %s ended:", life.seat.replica_id)
            for line in cause.log_end[-SHOWN_LINES:]:
                log.warning("%s", line)

    def _give_up(self, seat: Seat, why: EngineError | InvalidInput) -> None:
        seat.given_up = True
        self.failure = self.failure or why
        log.error("%s", self.failure)
        if not self.ready.is_set() or not any(map(self.roster.kept, self.roster.pools)):
            raise self.failure

    def _create(self, seat: Seat, incarnation: int) -> _Life:
        config, replica_id = seat.config, seat.replica_id
        needs = needs_of(config, ray.cluster_resources())
        options: dict[str, Any] = {
            **needs.options(spread=spreads(config, cluster=self.cluster), avoided=self._avoided),
            "max_restarts": 0,  # we restart, with a new incarnation
            "max_task_retries": 0,
            "max_concurrency": MAX_CONCURRENCY,
        }
        on_cpu = config.engine == "vllm" and not needs.gpus
        share = self._share(seat, needs) if on_cpu else None
        log_file = self.logs / f"{replica_id}-{incarnation}.log" if self.logs else None
        process = self.processes[replica_id] = secrets.randbits(63)
        shown = self.admit(replica_id)
        post = Post(replica_id, seat.pool, incarnation, process, self.coordinator_address, shown, self.alone_s)
        if self.kept_as:
            options |= {"name": actor_name(self.kept_as, post), "lifetime": "detached"}
        remote = ray.remote(GeneratorReplica).options(**options)
        actor = remote.remote(config.model_dump_json(), post, share, str(log_file) if log_file else None)
        self.actors[replica_id] = actor
        return _Life(seat, incarnation, actor, needs, log_file)

    def _share(self, seat: Seat, needs: Needs) -> tuple[int, int, int | None] | int:
        """Of a machine's cores those that are its own; on a cluster, where others come and go, as many as it asked
        for."""
        if self.cluster:
            return max(1, int(needs.cpus))
        return seat.number, len(self.roster.seats), asked_threads(os.environ)

    async def _live(self, life: _Life) -> Cause | None:
        """One life, start to end. Returns why it ended; None if it was drained or we are stopping."""
        serving = asyncio.ensure_future(life.actor.serve.remote().as_future())
        serving.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # taken note of, whoever asks
        probing = asyncio.create_task(self._probe(life), name=f"probe-{life.seat.replica_id}")
        stopping = asyncio.create_task(self._stopping.wait())
        ending = asyncio.create_task(self._overstay(life))
        try:
            await asyncio.wait({serving, probing, stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                return None
            cause = cause_of_end(serving) if serving.done() else ending.result() if ending.done() else probing.result()
            self._leaves = self._leaves or (cause is not None and cause.taken_over)
            if cause is not None and life.log_file is not None:
                cause.log_end = await asyncio.to_thread(tail, life.log_file)
            return cause
        finally:
            life.seat.ready = False
            self.actors.pop(life.seat.replica_id, None)
            self.nodes.pop(life.seat.replica_id, None)
            for task in (probing, stopping, ending):
                task.cancel()
            if not self._leaves:
                ray.kill(life.actor)
                await asyncio.wait({serving}, timeout=KILL_TIMEOUT_S)
            await asyncio.gather(probing, stopping, ending, return_exceptions=True)

    async def _overstay(self, life: _Life) -> Cause | None:
        """Until one that is to end must be ended: at once if it serves nobody yet, otherwise when its time is over."""
        seat = life.seat
        while seat.until is None or (seat.ready and time.monotonic() < seat.until + LATE_S):  # noqa: ASYNC110 - of time
            await asyncio.sleep(LOOK_S)
        return Cause(f"it had not ended in its time ({seat.cause})") if seat.ready else None

    async def _probe(self, life: _Life) -> Cause:
        """Ask for health again and again. Returns what is wrong when an answer does not come."""
        config = life.seat.config
        try:
            await self._placed(life)
            async with asyncio.timeout(config.start_timeout_s):
                while not await life.actor.health.remote():  # noqa: ASYNC110 - the condition is in another process
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return Cause(f"it was not ready within {config.start_timeout_s:g} s: {await _trouble(life)}", lasting=True)
        except ray.exceptions.RayError as error:
            return as_cause(error)
        life.ready_at = time.monotonic()
        life.seat.ready = True
        if self.roster.ready >= (self.config.ready_replicas or self.roster.total):
            self.ready.set()
        while True:
            await asyncio.sleep(config.health_interval_s)
            try:
                async with asyncio.timeout(config.health_timeout_s):
                    await life.actor.health.remote()
            except TimeoutError:
                return Cause(f"it did not answer a health probe within {config.health_timeout_s:g} s")
            except ray.exceptions.RayError as error:
                return as_cause(error)

    async def _placed(self, life: _Life) -> None:
        """Until its process runs. However long it has no node: Ray asks for one, if somebody adds nodes. RayError if it
        dies before, TimeoutError if it has a node and does not begin there."""
        seat, asking = life.seat, asyncio.ensure_future(life.actor.node.remote().as_future())
        with_node_s = 0.0
        try:
            while not (await asyncio.wait({asking}, timeout=PLACED_S))[0]:
                why = await asyncio.to_thread(missing_for, life.actor, life.needs)
                if why != seat.unplaced:
                    seat.unplaced = why
                    self.on_change()
                    log.warning("replica %s %s", seat.replica_id, f"is not scheduled: {why}" if why else "has a node")
                with_node_s = 0.0 if why else with_node_s + PLACED_S
                if with_node_s > seat.config.start_timeout_s:
                    raise TimeoutError
            self.nodes[seat.replica_id] = asking.result()
        finally:
            asking.cancel()
            if seat.unplaced:
                seat.unplaced = ""
                self.on_change()


async def _trouble(life: _Life) -> str:
    try:
        async with asyncio.timeout(TROUBLE_TIMEOUT_S):
            return str(await life.actor.trouble.remote())
    except (TimeoutError, ray.exceptions.RayError):
        return "its process did not answer"
