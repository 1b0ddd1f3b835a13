"""How many segments a second one coordinator takes, and what each costs: at saturation, then at half of that."""

import asyncio
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from treeroll.bench import redis_tools
from treeroll.bench.child import Child, first_and_other_cores, pinned
from treeroll.bench.result import Column, Result
from treeroll.bench.rounds import Variant, run_rounds
from treeroll.bench.secured import CLIENT, Access, make_access
from treeroll.client import connect_async
from treeroll.clock import monotonic
from treeroll.errors import InvalidInput, TreerollError
from treeroll.generator.outbox import MAX_SEGMENTS

LEAVES = 16
# Prompt and segments such that every segment has the wanted tokens: boundaries fall at 1 modulo the block.
BLOCK, PROMPT_TOKENS = 32, 33
DEMO_CONTEXT = 1024  # the service refuses replicas with less than its model's
# Of the nodes that a tree has at its end, what it has on average over its life.
MEAN_SHARE = 0.36
SETTLE_S = 1.0
POLL_S = 0.1
STUCK_S = 20.0
LONGEST_REWRITE_S = 60.0
# Segments a second that no coordinator will reach: as many tasks wait. Trees that end early make it fewer.
FASTEST = 120_000
# Fewer nodes weigh less than what the process allocates anyway.
WEIGHABLE_NODES = 50_000


@dataclass(frozen=True, slots=True)
class Point:
    """One place on the curves."""

    live_nodes: int = 10_000
    replicas: int = 4
    durability: str = "everysec"

    @property
    def name(self) -> str:
        """The name for tables."""
        return f"{self.live_nodes:,} nodes {self.replicas:,} replicas {self.durability}"


@dataclass(frozen=True, slots=True)
class Workload:
    """What all points have in common."""

    segment_tokens: int = 64
    max_depth: int = 14
    end_share: float = 0.02
    """Probability that a segment ends its path with EOS."""
    report_segments: int = MAX_SEGMENTS
    """Most in one report; the default is what a real replica sends. Paced reports have 64."""
    in_flight: int = 2
    """Reports that a saturating replica has on their way."""
    seconds: float = 4.0
    """One window."""
    rate: float | None = None
    """Segments a second in the paced windows; None: half of what saturation reached just before."""
    rewrite: bool = False
    """One more window during a rewrite of the append-only file."""
    secured: bool = False
    """With TLS and tokens."""
    events_mb: int = 64
    """Of decisions that the store keeps, as those of a service are by itself; 0: none are written."""
    traced: float = 0.0
    """Share of trees that are traced, to a collector in this process; 0: tracing is off."""

    @property
    def widths(self) -> list[int]:
        """Nodes of a tree at depth 1, 2, ..., about: without early ends."""
        return [min(2**depth, LEAVES) for depth in range(1, self.max_depth + 1)]

    @property
    def nodes_per_tree(self) -> int:
        """About, at its end."""
        return sum(self.widths)

    def live_trees(self, live_nodes: int) -> int:
        """Trees that hold so many nodes at any moment, about."""
        return max(1, round(live_nodes / (MEAN_SHARE * self.nodes_per_tree)))


class Bench:
    """Everything for one point, started anew for every round."""

    def __init__(self, point: Point, work: Workload) -> None:
        self._point = point
        self._work = work
        self._trees = work.live_trees(point.live_nodes)
        self._replica_ids = [f"load-{i}" for i in range(point.replicas)]
        self._tasks = 0
        self._most_nodes = 0

    async def run(self) -> dict[str, float]:
        """Start, fill, measure, stop."""
        measured, others = first_and_other_cores()
        async with AsyncExitStack() as stack:
            stack.enter_context(pinned(others))
            server = stack.enter_context(redis_tools.redis_server(self._point.durability))
            self._redis = stack.enter_context(redis_tools.connect(server))
            access = self._access(stack)
            self._coordinator = await stack.enter_async_context(Child("treeroll.bench.coordinator_process"))
            self._load = await stack.enter_async_context(Child("treeroll.bench.load_process"))
            started = await self._coordinator.start(
                url=server.url,
                durability=self._point.durability,
                cores=sorted(measured),
                access=access.config.model_dump(mode="json"),
                live_trees=self._trees,
                events_mb=self._work.events_mb,
                tracing=self._tracing(stack),
            )
            address, by, work = started["address"], access.shown_by(CLIENT), self._work
            connecting = connect_async(address, token=by.token, tls=by.roots or False)
            client = await stack.enter_async_context(await connecting)
            self._run = await client.create_run(
                "bench", recipe="treepo", leaves=LEAVES, segment_tokens=work.segment_tokens, max_depth=work.max_depth
            )
            passes = {name: asdict(access.shown_by(name)) for name in self._replica_ids}
            await self._load.start(address=address, cores=sorted(others), passes=passes, **self._settings())
            return await self._measure(await self._fill())

    def _tracing(self, stack: AsyncExitStack) -> dict[str, Any]:
        if not self._work.traced:
            return {}
        from treeroll.bench.collector import Collector

        return {"endpoint": stack.enter_context(Collector()).endpoint, "ratio": self._work.traced}

    def _access(self, stack: AsyncExitStack) -> Access:
        if not self._work.secured:
            return Access()
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="treeroll-bench-"))
        return make_access(Path(folder), self._replica_ids)

    def _settings(self) -> dict[str, Any]:
        """Of each replica."""
        longest = PROMPT_TOKENS + self._work.segment_tokens * self._work.max_depth + BLOCK
        return {
            "slots": math.ceil(1.1 * self._trees * LEAVES / self._point.replicas),
            "block_size": BLOCK,
            "max_model_len": max(longest, DEMO_CONTEXT),
            "most": self._work.report_segments,
            "in_flight": self._work.in_flight,
            "end_share": self._work.end_share,
        }

    async def _submit(self, count: int) -> None:
        noise = np.random.default_rng(self._tasks)
        prompts = noise.integers(10, 90, (count, PROMPT_TOKENS))
        await self._run.submit(
            {"id": f"t{self._tasks + i}", "prompt_ids": prompt.tolist()} for i, prompt in enumerate(prompts)
        )
        self._tasks += count

    async def _fill(self) -> dict[str, Any]:
        """Plant trees as others get one level deeper, so that their ages are as in a service that has run for long:
        planted at once, they would all be widest, and end, at the same time. Returns figures from before."""
        work, trees = self._work, self._trees
        before = await self._coordinator.ask()
        await self._load.ask(rate=None)
        wanted = float(before["segments"])
        for depth in range(1, work.max_depth + 1):
            await self._submit(math.ceil(trees * depth / work.max_depth) - self._tasks)
            wanted += sum(work.widths[:depth]) * trees / work.max_depth
            await self._made(wanted)
        return before

    async def _made(self, segments: float) -> None:
        """Wait until there are so many, or no tree is left to make them."""
        now = await self._coordinator.ask()
        moved_at = now["at_s"]
        while (live_nodes := await self._count()) and now["segments"] < segments:
            await asyncio.sleep(POLL_S)
            await self._load.ask()  # raises if it has ended
            seen, now = now, await self._coordinator.ask()
            if now["segments"] > seen["segments"]:
                moved_at = now["at_s"]
            elif now["at_s"] > moved_at + STUCK_S:
                raise TreerollError(f"the load stands still with {live_nodes} live nodes")

    async def _count(self) -> int:
        """Live nodes. Walks all trees, so no window contains it.

        A process keeps memory that it once used, so the most nodes so far are remembered with it.
        """
        live_nodes: int = (await self._coordinator.ask(count=True))["live_nodes"]
        self._most_nodes = max(self._most_nodes, live_nodes)
        return live_nodes

    async def _top_up(self, seconds: float) -> None:
        """Enough waiting tasks for so long, however fast it is, also if all trees of an age end in it."""
        waiting = (await self._coordinator.ask())["waiting_tasks"]
        wanted = self._trees + math.ceil(seconds * FASTEST / self._work.nodes_per_tree)
        if waiting < wanted:
            await self._submit(wanted - waiting)

    async def _measure(self, empty: Mapping[str, Any]) -> dict[str, float]:
        full = await self._window()
        figures = {
            "segments_s": full["segments_s"], "cpu_us": full["cpu_us"], "busy": full["busy"],
            "redis_cpu_us": full["redis_cpu_us"], "load_cpu_us": full["load_cpu_us"],
            "segments_per_report": full["segments_per_report"], "live_nodes": full["live_nodes"],
            "full_p50_ms": full["p50_ms"], "full_p99_ms": full["p99_ms"], "full_trip_p99_ms": full["trip_p99_ms"],
        }  # fmt: skip
        if self._point.live_nodes >= WEIGHABLE_NODES:
            figures["node_bytes"] = (full["rss_bytes"] - empty["rss_bytes"]) / self._most_nodes
        half = self._work.rate or full["segments_s"] / 2
        await self._load.ask(rate=half)
        await asyncio.sleep(SETTLE_S)
        figures |= _prefixed("half", await self._window())
        if self._work.rewrite:
            window = await self._window(rewrite=True)
            figures |= _prefixed("rewrite", window) | {"rewrite_s": window["seconds"]}
        return figures

    async def _window(self, rewrite: bool = False) -> dict[str, float]:
        """Figures of one window, or of a rewrite from start to end; the load goes on as it is."""
        await self._top_up(SETTLE_S + self._work.seconds)
        await asyncio.sleep(SETTLE_S)  # a submission holds up everything else for a moment
        live_before = await self._count()
        redis_before = redis_tools.cpu_s(self._redis)
        load_before, before = await self._load.ask(cut=True), await self._coordinator.ask(cut=True)
        if rewrite:
            await self._rewrite()
        else:
            await asyncio.sleep(self._work.seconds)
        load_after, after = await self._load.ask(cut=True), await self._coordinator.ask(cut=True)
        redis_after = redis_tools.cpu_s(self._redis)
        live_after = await self._count()
        segments = after["segments"] - before["segments"]
        if not segments or not after["waiting_tasks"]:
            raise TreerollError(f"{segments} segments in a window, {after['waiting_tasks']} tasks left: no saturation")
        cpu_s = after["cpu_s"] - before["cpu_s"]
        return {
            "seconds": after["at_s"] - before["at_s"],
            "segments_s": _per_second(before, after, "segments"),
            "cpu_us": 1e6 * cpu_s / segments,
            "busy": cpu_s / (after["at_s"] - before["at_s"]),
            "redis_cpu_us": 1e6 * (redis_after - redis_before) / segments,
            "load_cpu_us": 1e6 * (load_after["cpu_s"] - load_before["cpu_s"]) / segments,
            "segments_per_report": segments / max(after["reports"] - before["reports"], 1),
            "live_nodes": (live_before + live_after) / 2,
            "rss_bytes": after["rss_bytes"],
            **after["latency"],
            **{f"trip_{name}": value for name, value in load_after["round_trip"].items()},
        }

    async def _rewrite(self) -> None:
        """One rewrite; where that is over in no time, long enough for segments to come."""
        self._redis.bgrewriteaof()
        ends_at = monotonic() + SETTLE_S
        async with asyncio.timeout(LONGEST_REWRITE_S):
            while redis_tools.rewriting(self._redis) or monotonic() < ends_at:
                await asyncio.sleep(POLL_S)
                await self._top_up(self._work.seconds)


def _per_second(before: Mapping[str, Any], after: Mapping[str, Any], figure: str) -> float:
    return float((after[figure] - before[figure]) / (after["at_s"] - before["at_s"]))


def _prefixed(prefix: str, window: Mapping[str, float]) -> dict[str, float]:
    names = ("segments_s", "cpu_us", "p50_ms", "p99_ms", "max_ms", "trip_p50_ms", "trip_p99_ms")
    return {f"{prefix}_{name}": window[name] for name in names}


def points(nodes: str, replicas: str, durabilities: str) -> list[Point]:
    """All combinations of comma-separated values. InvalidInput names a wrong one."""
    return [
        Point(live_nodes, count, durability)
        for live_nodes in _numbers("--nodes", nodes)
        for count in _numbers("--replicas", replicas)
        for durability in _words("--durability", durabilities, ("everysec", "always"))
    ]


def _numbers(option: str, text: str) -> list[int]:
    try:
        found = [int(part) for part in text.replace("_", "").split(",")]
    except ValueError:
        raise InvalidInput(f"{option} {text}: give whole numbers with commas between them") from None
    if min(found) < 1:
        raise InvalidInput(f"{option} {text}: numbers must be 1 or more")
    return found


def _words(option: str, text: str, known: Sequence[str]) -> list[str]:
    found = text.split(",")
    if unknown := [word for word in found if word not in known]:
        raise InvalidInput(f"{option} {unknown[0]}: give {' or '.join(known)}, or both with a comma between them")
    return found


COLUMNS = (
    Column("segments_s", "segments/s", 0),
    Column("cpu_us", "CPU us", 1),
    Column("node_bytes", "B/node", 0),
    Column("half_p50_ms", "half p50 ms", 1),
    Column("half_p99_ms", "half p99 ms", 1),
)
REWRITE_COLUMNS = (Column("rewrite_p99_ms", "rewrite p99 ms", 1),)


async def measure(wanted: Sequence[Point], work: Workload, rounds: int, note: Callable[[str], None]) -> Result:
    """All points in turn, `rounds` times. Each fills up before it is measured, which is its warm-up."""

    def variant(point: Point) -> Variant:
        return lambda _: Bench(point, work).run()

    variants = {point.name: variant(point) for point in wanted}
    measured = await run_rounds(variants, rounds, note, warm_ups=0)
    columns = [*COLUMNS, *(REWRITE_COLUMNS if work.rewrite else ())]
    return Result("coordinator", asdict(work), measured, columns)
