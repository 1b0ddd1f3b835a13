"""The coordinator is killed at every place where something could be lost, again and again in one run."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from treeroll import clock
from treeroll.chaos.feeder import Feeder
from treeroll.chaos.ordeal import Ordeal, Outcome
from treeroll.chaos.watch import Watch
from treeroll.chaos.world import START_S, World
from treeroll.client import AsyncRun
from treeroll.errors import TreerollError
from treeroll.failpoints import NAMES
from treeroll.store.redis import RedisStore
from treeroll.tasks import Task

# A life dies when it comes to its place for the so-manieth time, at most: after a second or two of work, as a rule.
MOST_TIMES = {"commit": 40, "perform": 40, "feed": 4, "join": 3}
# One death of so many is followed by a takeover instead of a new start.
TAKEOVER_EVERY = 4
# A life that has not come to its place by then is killed wherever it is.
LONGEST_LIFE_S = 30.0
NOWHERE = "no failpoint"
LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Life:
    """How a life of the coordinator begins, and where it ends."""

    failpoint: str = ""
    """"": nowhere, it lives on."""
    times: int = 1
    takes_over: bool = False
    """It stood by for the one before it. Else it is started when that is dead."""

    @property
    def place(self) -> str:
        """As failpoints have it."""
        return f"{self.failpoint}:{self.times}" if self.failpoint else ""


@dataclass(slots=True)
class Death:
    """One of the coordinator, and what came of it."""

    failpoint: str
    """Or NOWHERE."""
    at_s: float
    """On the monotonic clock."""
    spent: int
    """Tokens that were durable."""
    taken_over: bool
    """One that stood by went on; else it was started again."""
    recovered_s: float | None = None
    """From the death until more tokens were durable; None: before that the next one died."""

    def judge(self, watch: Watch, until_s: float) -> None:
        """Take `recovered_s` from what was durable until then."""
        moments = (one.at_s for one in watch.durable if self.at_s < one.at_s < until_s and one.spent > self.spent)
        self.recovered_s = next((moment - self.at_s for moment in moments), None)


def drawn_lives(dice: Random, count: int) -> list[Life]:
    """So many that die. Every failpoint comes before one comes again."""
    lives: list[Life] = []
    bag: list[str] = []
    for number in range(count):
        if not bag:
            bag = dice.sample(list(NAMES), len(NAMES))
        name = bag.pop()
        times = dice.randint(1, MOST_TIMES.get(name.partition(".")[0], 1))
        lives.append(Life(name, times, takes_over=number % TAKEOVER_EVERY == TAKEOVER_EVERY - 1))
    return lives


class Killer:
    """Kills the coordinator of one run."""

    def __init__(self, world: World, ordeal: Ordeal, say: Callable[[str], None]) -> None:
        self._world, self._ordeal, self._say = world, ordeal, say
        self.deaths: list[Death] = []

    async def perform(self, lives: Sequence[Life]) -> Outcome:
        """One run in which all of them die, after one that is killed anywhere, so that they can begin.

        TreerollError if a coordinator ends otherwise, or the run stands still.
        """

        async def disturb(run: AsyncRun, watch: Watch) -> Sequence[Task]:
            async with Feeder(run, watch) as feeder:
                await self._ordeal.until(watch, lambda sample: sample.ended > 0)
                await self._kill_all(lives, watch, feeder)
            return feeder.tasks

        self._store = RedisStore(self._world.redis.url)
        try:
            return await self._ordeal.grow(disturb)
        finally:
            await self._store.close()

    async def _kill_all(self, lives: Sequence[Life], watch: Watch, feeder: Feeder) -> None:
        world = self._world
        await asyncio.to_thread(world.coordinator.kill)
        await self._died(NOWHERE, lives[0], watch)
        for life, following in pairwise([*lives, Life()]):
            epoch = await self._epoch()
            if life.takes_over:
                world.take_over()
            else:
                await asyncio.to_thread(world.start_coordinator, life.place)
            began_s = clock.monotonic()
            while world.coordinator.running and await self._epoch() == epoch:
                self._check(began_s, START_S, feeder)
                await asyncio.sleep(LOOK_S)
            if following.takes_over:
                await asyncio.to_thread(world.start_standby, following.place)
            failpoint, began_s = life.failpoint, clock.monotonic()
            while world.coordinator.running:
                if clock.monotonic() - began_s > LONGEST_LIFE_S:
                    failpoint = NOWHERE
                    await asyncio.to_thread(world.coordinator.kill)
                self._check(began_s, START_S, feeder)
                await asyncio.sleep(LOOK_S)
            world.check()
            await self._died(failpoint, following, watch)
        await asyncio.to_thread(world.start_coordinator)
        await self._ordeal.until(watch, lambda sample: sample.spent > self.deaths[-1].spent)
        self._judge(watch, clock.monotonic())
        if self._world.standby.running:
            raise TreerollError("one that stood by for a coordinator is left")

    async def _died(self, failpoint: str, following: Life, watch: Watch) -> None:
        """Tell of a death, when the store has everything that was on its way."""
        at_s = clock.monotonic()
        self._judge(watch, at_s)
        seen = len(watch.durable)
        while len(watch.durable) < seen + 2:  # noqa: ASYNC110 - samples have no event
            await asyncio.sleep(LOOK_S)
        self.deaths.append(Death(failpoint, at_s, watch.durable[-1].spent, following.takes_over))

    def _judge(self, watch: Watch, until_s: float) -> None:
        """Say what came of the last death."""
        if not self.deaths:
            return
        death = self.deaths[-1]
        death.judge(watch, until_s)
        went_on = "taken over" if death.taken_over else "started again"
        tokens = (
            f"tokens after {death.recovered_s:.2f} s" if death.recovered_s is not None else "the next one died first"
        )
        self._say(f"  {death.failpoint}: {went_on}, {tokens}")

    def _check(self, since_s: float, patience_s: float, feeder: Feeder) -> None:
        feeder.check()
        if clock.monotonic() - since_s > patience_s:
            words = self._world.coordinator.last_words()
            raise TreerollError(f"the coordinator does not begin within {patience_s:g} s; its log ends: {words}")

    async def _epoch(self) -> int:
        beat = await self._store.heartbeat()
        return beat.epoch if beat else 0
