"""One run in a world, with faults on its way, and all that was found out about it."""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from treeroll import clock
from treeroll.chaos.checks import Evidence, findings
from treeroll.chaos.faults import Strike, all_faults
from treeroll.chaos.trainer_log import Rows, read_log, rows_of
from treeroll.chaos.watch import Sample, Watch
from treeroll.chaos.world import GROUP, Size, World
from treeroll.client import AsyncRun, connect_async
from treeroll.config import CoordinatorConfig
from treeroll.demo import TASKS_FILE
from treeroll.errors import TreerollError
from treeroll.store.redis import RedisStore
from treeroll.tasks import Task, read_tasks
from treeroll.testing.service import local_service

RUN: dict[str, Any] = {"recipe": "treepo", "leaves": 4, "segment_tokens": 16, "max_depth": 8, "scorer": "arith"}
# What a tree of RUN takes, about: how many tasks keep the engines busy for so long follows from it.
TREE_TOKENS = 260
# Before the first strike all slots should be taken; after the last there should be enough left to see growth.
WARM_S, TAIL_S = 4.0, 6.0
# A run that ends no task for so long, and whose faults are over, will not go on.
STUCK_S = 120.0
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Struck:
    """A strike as it happened, in seconds of the monotonic clock."""

    strike: Strike
    began_s: float
    ends_s: float
    """When its end began; a server that has to start again takes a while."""
    healed_s: float
    """When it was over."""
    victims: tuple[str, ...]
    """Replicas that it befell."""


@dataclass(slots=True)
class Outcome:
    """What became of a run."""

    ended_s: float
    tasks: int
    samples: list[Sample]
    durable: list[Sample]
    """As `Watch` has them."""
    replicas: tuple[str, ...]
    lives: int
    """Times that replicas' processes were started anew."""
    decoded: int
    """Tokens, by what engines count."""
    spent: int = 0
    """Tokens of the run's account. What engines decoded beyond them was decoded twice, or for nothing."""
    failed: int = 0
    regrants: int = 0
    struck: list[Struck] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    """Every promise that was broken."""

    @property
    def warm_s(self) -> float:
        """When the first task had ended, on the monotonic clock: from then on all slots are taken."""
        return next(sample.at_s for sample in self.durable if sample.ended)


Disturbance = Callable[[AsyncRun, Watch], Awaitable[Sequence[Task]]]
"""Has tasks grown in an open run, and closes it; meanwhile it does what it likes. Returns the tasks."""


def some_tasks(count: int) -> list[Task]:
    """The demo tasks, again under other names where there are not enough of them."""
    own = list(read_tasks(TASKS_FILE))
    rounds = math.ceil(count / len(own))
    many = [Task(f"{task.id}-{turn}", prompt=task.prompt, answer=task.answer) for turn in range(rounds) for task in own]
    return many[:count]


def tasks_for(strikes: Sequence[Strike], size: Size) -> int:
    """As many as keep the engines busy through all of it."""
    faults = all_faults()
    busy_s = WARM_S + TAIL_S
    for strike in strikes:
        pauses = any(faults[name].pauses for name in strike.names)
        busy_s += strike.after_s + (0.0 if pauses else strike.lasts_s)
    return math.ceil(busy_s * size.tokens_per_s / TREE_TOKENS)


async def undisturbed(seed: int, tasks: Sequence[Task]) -> dict[str, Rows]:
    """Task -> its tree in a run of this seed to which nothing happens: one process, one replica, no Redis."""
    # However slow this machine is, no replica loses its lease.
    patient = CoordinatorConfig(port=0, lease_s=3600.0, mute_s=3600.0)
    async with local_service(coordinator=patient) as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        run = await client.create_run("run", seed=seed, **RUN)
        await run.submit(tasks)
        await run.close()
        rows: dict[str, Rows] = {}
        async for batch in run.batches(trees=16):
            rows |= {tree.task_id: await asyncio.to_thread(rows_of, tree) for tree in batch.trees}
        return rows


class Ordeal:
    """Runs in one world, one after the other."""

    def __init__(self, world: World, seed: int, say: Callable[[str], None]) -> None:
        self._world = world
        self._seed = seed
        self._say = say
        self._dice = Random(f"chaos-{seed}")  # noqa: S311 - which faults, no secret
        self._undisturbed: dict[str, Rows] = {}
        self._runs = 0

    async def perform(self, strikes: Sequence[Strike]) -> Outcome:
        """One run with these strikes, to its end and beyond."""
        tasks, struck = some_tasks(tasks_for(strikes, self._world.size)), list[Struck]()

        async def disturb(run: AsyncRun, watch: Watch) -> Sequence[Task]:
            await run.submit(tasks)
            await run.close()
            await self.until(watch, lambda sample: sample.ended > 0)
            await asyncio.sleep(WARM_S)
            for strike in strikes:
                struck.append(await self.strike(strike))
            return tasks

        outcome = await self.grow(disturb)
        outcome.struck = struck
        return outcome

    async def grow(self, disturb: Disturbance) -> Outcome:
        """One run, to its end and beyond: nothing of it is left in the store.

        Raises TreerollError when the world cannot go on, as when its coordinator has ended.
        """
        world = self._world
        await world.all_ready()
        keys, lives = await asyncio.to_thread(world.keys), sum(seat.process.lives for seat in world.replicas)
        decoded = world.decoded_tokens
        self._runs += 1
        run = await world.client.create_run(f"run{self._runs}", seed=self._seed, **RUN)
        await world.start_trainers(run.run_id)
        async with Watch(world.address, world.redis.url, run.run_id) as watch:
            try:
                tasks = await disturb(run, watch)
            finally:
                await world.heal()
            await self.until(watch, lambda sample: sample.ended == len(tasks))
            await self._trainers_done()
        outcome = Outcome(
            clock.monotonic(), len(tasks), watch.samples, watch.durable, tuple(seat.name for seat in world.replicas),
            sum(seat.process.lives for seat in world.replicas) - lives, world.decoded_tokens - decoded,
        )  # fmt: skip
        evidence = await self._evidence(run, tasks)  # at once: the run's time may be short
        if world.size.engine == "simulated":
            evidence.undisturbed = await self._wanted(tasks)
        status = evidence.status
        outcome.failed, outcome.regrants, outcome.spent = status.failed, status.regrants, status.ledger.spent
        outcome.findings += await asyncio.to_thread(lambda: list(findings(evidence)))
        outcome.findings += [f"{key} is left" for key in await asyncio.to_thread(world.keys) if ":journal:" in key]
        await world.end_trainers()
        if left := await self._left(run, keys):
            outcome.findings.append(f"{len(left)} keys of the run are left, such as {min(left)}")
        return outcome

    async def _left(self, run: AsyncRun, keys: set[str]) -> set[str]:
        """Keys that are there when the run has been deleted, or its time is over."""
        world, deadline = self._world, clock.monotonic() + STUCK_S
        if world.size.keep_finished_s is None:
            await world.client.delete_run(run.run_id)
            return await asyncio.to_thread(world.keys) - keys
        while True:
            left = await asyncio.to_thread(world.keys) - keys
            if not left or clock.monotonic() > deadline:
                return left
            await asyncio.sleep(LOOK_S)

    async def _wanted(self, tasks: Sequence[Task]) -> Mapping[str, Rows]:
        missing = [task for task in tasks if task.id not in self._undisturbed]
        if missing:
            self._undisturbed |= await undisturbed(self._seed, missing)
        return self._undisturbed

    async def strike(self, strike: Strike) -> Struck:
        """Let it strike, and be over."""
        faults = [all_faults()[name] for name in strike.names]
        await asyncio.sleep(strike.after_s)
        self._say(f"{' and '.join(strike.names)} for {strike.lasts_s:.0f} s")
        began_s = clock.monotonic()
        for fault in faults:
            await fault.inject(self._world, self._dice)
        victims = tuple(name for fault in faults for name in fault.victims())
        try:
            await asyncio.sleep(max(0.0, began_s + strike.lasts_s - clock.monotonic()))
        finally:
            ends_s = clock.monotonic()
            for fault in faults:
                await fault.heal(self._world)
        return Struck(strike, began_s, ends_s, clock.monotonic(), victims)

    async def until(self, watch: Watch, reached: Callable[[Sample], bool]) -> None:
        """Wait for what a sample says. TreerollError if nothing moves for STUCK_S, or the world has ended."""
        moved_s, ended = clock.monotonic(), -1
        while watch.latest is None or not reached(watch.latest):
            self._world.check()
            if watch.latest is not None and watch.latest.ended != ended:
                moved_s, ended = clock.monotonic(), watch.latest.ended
            if clock.monotonic() - moved_s > STUCK_S:
                raise TreerollError(f"the run stands still: for {STUCK_S:g} s no task ended after the first {ended}")
            await asyncio.sleep(LOOK_S)

    async def _trainers_done(self) -> None:
        """Until every trainer has ended by itself, which it does when its group has everything."""
        deadline = clock.monotonic() + STUCK_S
        while waiting := [seat for seat in self._world.trainers if seat.process.exit_code != 0]:
            self._world.check()
            if clock.monotonic() > deadline:
                words = waiting[0].process.last_words()
                raise TreerollError(f"trainer {waiting[0].name} does not come to an end; its log ends: {words}")
            await asyncio.sleep(LOOK_S)

    async def _evidence(self, run: AsyncRun, tasks: Sequence[Task]) -> Evidence:
        world = self._world
        logs = [await asyncio.to_thread(read_log, seat.log) for seat in world.trainers]
        store = RedisStore(world.redis.url)
        try:
            feed = Counter(await store.feed_entries(run.run_id))
            acknowledged = (await store.group_state(run.run_id, GROUP)).acknowledged
        finally:
            await store.close()
        audit = (await world.client.audit()).violations
        return Evidence(
            [task.id for task in tasks], logs, await run.status(), feed, acknowledged, None,
            [f"{violation.invariant}: {violation.detail}" for violation in audit],
        )  # fmt: skip
