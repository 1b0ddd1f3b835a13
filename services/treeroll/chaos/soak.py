"""A long time with a brief fault every now and then, beside times without any: what it costs, and what grows."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import psutil

from treeroll import clock
from treeroll.chaos.faults import Strike
from treeroll.chaos.feeder import Feeder
from treeroll.chaos.ordeal import WARM_S, Ordeal, Outcome, Struck
from treeroll.chaos.watch import Sample, Watch
from treeroll.chaos.world import Size, World
from treeroll.client import AsyncRun
from treeroll.tasks import Task

# A strike is over long before the next one.
SHORTEST_S, LONGEST_S = 0.5, 2.0
# Of each pair of runs one has so many strikes, and the other lasts for so many of their intervals without any.
STRIKES, QUIET = 6, 2
# Least throughput with faults, of that without.
SHARE = 0.9
# What lives may have so much more at the end than after the first pair of runs: what is unused is not given back.
MEMORY_GROWTH, HANDLES_GROWTH = 1.25, 16
COST = ("", ">worst", ">best", ">all", "promised", "verdict")
GROWTH = ("", ">first", ">last", "promised", "verdict")


@dataclass(frozen=True, slots=True)
class Held:
    """What the service holds while no run is there."""

    keys: int
    """In Redis."""
    redis_mb: float
    coordinator_mb: float
    replicas_mb: float
    handles: int
    """Open files and sockets of the coordinator and of replicas."""

    @classmethod
    def of(cls, world: World) -> "Held":
        """Take it."""
        coordinator = psutil.Process(world.coordinator.pid)
        replicas = [psutil.Process(seat.process.pid) for seat in world.replicas]
        return cls(
            len(world.keys()), _mb(psutil.Process(world.redis.pid)), _mb(coordinator), sum(map(_mb, replicas)),
            sum(process.num_fds() for process in (coordinator, *replicas)),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """A run with strikes and one without, after one another."""

    struck: Outcome
    quiet: Outcome
    struck_rate: float
    """Durable tokens a second while strikes came."""
    quiet_rate: float
    held: Held
    """Afterwards, when nothing of either may be left."""


class Soak:
    """Pairs of runs in one world."""

    def __init__(self, world: World, ordeal: Ordeal, names: Sequence[str], dice: Random, every_s: float) -> None:
        self._world, self._ordeal, self._names, self._dice, self._every_s = world, ordeal, names, dice, every_s
        self._bag: list[str] = []
        self.pairs: list[Pair] = []

    async def pair(self) -> Pair:
        """The next one. TreerollError as `Ordeal.grow` has it."""
        struck, struck_rate = await self._run(STRIKES)
        quiet, quiet_rate = await self._run(0)
        pair = Pair(struck, quiet, struck_rate, quiet_rate, await asyncio.to_thread(Held.of, self._world))
        self.pairs.append(pair)
        return pair

    async def _run(self, strikes: int) -> tuple[Outcome, float]:
        came: list[Struck] = []
        window = [0.0, 0.0]

        async def disturb(run: AsyncRun, watch: Watch) -> Sequence[Task]:
            async with Feeder(run, watch) as feeder:
                await self._ordeal.until(watch, lambda sample: sample.ended > 0)
                await asyncio.sleep(WARM_S)
                window[0] = clock.monotonic()
                for number in range(strikes):
                    came.append(await self._ordeal.strike(self._drawn()))
                    await asyncio.sleep(max(0.0, window[0] + (number + 1) * self._every_s - clock.monotonic()))
                    feeder.check()
                if not strikes:
                    await asyncio.sleep(QUIET * self._every_s)
                window[1] = clock.monotonic()
            return feeder.tasks

        outcome = await self._ordeal.grow(disturb)
        outcome.struck = came
        return outcome, rate(outcome.durable, *window)

    def _drawn(self) -> Strike:
        """Every fault comes before one comes again."""
        if not self._bag:
            self._bag = self._dice.sample(list(self._names), len(self._names))
        return Strike((self._bag.pop(),), 0.0, self._dice.uniform(SHORTEST_S, LONGEST_S))


def rate(samples: Sequence[Sample], since_s: float, until_s: float) -> float:
    """Tokens a second that became durable in a span of the clock; 0.0 where it has no two samples."""
    there = [sample for sample in samples if since_s <= sample.at_s <= until_s]
    if len(there) < 2:
        return 0.0
    return (there[-1].spent - there[0].spent) / (there[-1].at_s - there[0].at_s)


def soak_size(durability: str) -> Size:
    """A world in which what has ended goes soon."""
    return Size(durability=durability, keep_finished_s=15.0)


def cost(pairs: Sequence[Pair]) -> list[list[str]]:
    """Throughput with faults, as a share of that without: of the worst and the best pair, and of all."""
    share = sum(pair.struck_rate for pair in pairs) / sum(pair.quiet_rate for pair in pairs)
    shares = sorted(pair.struck_rate / pair.quiet_rate for pair in pairs)
    figures = [f"{figure:.2f} x" for figure in (shares[0], shares[-1], share)]
    return [["throughput, of that without faults", *figures, f">= {SHARE:g} x", _verdict(share >= SHARE, figures[-1])]]


def growth(pairs: Sequence[Pair]) -> list[list[str]]:
    """What is held when nothing of any run should be left, a line each."""
    first, last = pairs[0].held, pairs[-1].held
    keys, handles = last.keys - first.keys, last.handles - first.handles
    lines = [["keys in Redis", str(first.keys), str(last.keys), "no more", _verdict(keys <= 0, f"{keys} more")]]
    for what, before, after in (
        ("memory of Redis, MB", first.redis_mb, last.redis_mb),
        ("memory of the coordinator, MB", first.coordinator_mb, last.coordinator_mb),
        ("memory of replicas, MB", first.replicas_mb, last.replicas_mb),
    ):
        grown = after / before
        verdict = _verdict(grown <= MEMORY_GROWTH, f"{grown:.2f} x")
        lines.append([what, f"{before:.0f}", f"{after:.0f}", f"<= {MEMORY_GROWTH:g} x", verdict])
    verdict = _verdict(handles <= HANDLES_GROWTH, f"{handles} more")
    what, promise = "file handles of coordinator and replicas", f"<= {HANDLES_GROWTH} more"
    return [*lines, [what, str(first.handles), str(last.handles), promise, verdict]]


def _verdict(kept: bool, figure: str) -> str:
    return "kept" if kept else figure


def _mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / (1 << 20)
