"""`treeroll bench engine`: treeroll beside the same vLLM without it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from treeroll.bench import raw_variants
from treeroll.bench.meter import Meter, sharing_efficiency
from treeroll.bench.prompts import Workload
from treeroll.bench.raw_engine import RawEngine
from treeroll.bench.result import Column, Result
from treeroll.bench.rounds import Figures, Rounds, Variant, run_rounds
from treeroll.bench.service import BenchService
from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig
from treeroll.tasks import Task

# An engine that has just become idle goes on polling for a second; only then it leaves the cores to the next one.
SETTLE_S = 1.5
RAW: dict[str, Callable[[RawEngine, Workload, Sequence[Task]], Awaitable[Meter]]] = {
    "flat": raw_variants.flat,
    "lockstep": partial(raw_variants.lockstep, aligned=True),
    "lockstep-unaligned": partial(raw_variants.lockstep, aligned=False),
    "segments": partial(raw_variants.segments, aligned=True),
    "segments-unaligned": partial(raw_variants.segments, aligned=False),
}
SERVED = {"flat-service": "flat", "tree": "treepo"}
VARIANTS = ("flat", "flat-service", "lockstep", "lockstep-unaligned", "segments", "segments-unaligned", "tree")
COLUMNS = (
    Column("samples_per_s", "samples/s", 2, ratio_to="flat"),
    Column("tokens_per_s", "tokens/s", 0, ratio_to="flat"),
    Column("sharing", "sharing", 2),
    Column("efficiency", "efficiency", 2),
    Column("recomputed_per_fork", "recomputed/fork", 1),
    Column("recomputed_tokens", "recomputed", 0),
    Column("requests", "requests", 0),
    Column("first_sample_s", "first s", 1),
    Column("last_sample_s", "last s", 1),
)
REMARKS = (
    "sharing: completion tokens of all samples / tokens generated for them; efficiency: samples/s gained over flat /"
    " what sharing allows (1.00).",
    "recomputed: prefix tokens computed more than once; /fork: per request that begins below a prompt.",
    "-unaligned: segments end at multiples of their length, as published, not where KV blocks end.",
    "first s of tree and flat-service is when the first whole tree arrives, of the others when the first sample ends.",
)


@dataclass(frozen=True, slots=True)
class EngineBench:
    """One comparison."""

    workload: Workload
    generator: GeneratorConfig
    variants: Sequence[str] = VARIANTS
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [name for name in self.variants if name not in VARIANTS]
        if unknown or not self.variants:
            raise InvalidInput(f"--variants has {unknown or 'nothing'}; there is {', '.join(VARIANTS)}")
        self.workload.check()

    async def run(self, rounds: int, note: Callable[[str], None]) -> Result:
        """Start what the variants need, and measure. Everything is stopped at the end, whatever happens."""
        async with self._running(note) as variants:
            measured = await run_rounds(variants, rounds, note)
        add_efficiency(measured)
        return Result("engine", self.parameters, measured, COLUMNS, list(REMARKS))

    @asynccontextmanager
    async def _running(self, note: Callable[[str], None]) -> AsyncIterator[dict[str, Variant]]:
        variants: dict[str, Variant] = {}
        async with AsyncExitStack() as stack:
            if raw := [name for name in self.variants if name in RAW]:
                note("starting vLLM in this process")
                engine = RawEngine(self.generator)
                stack.push_async_callback(engine.stop)
                await engine.start()
                variants |= {name: partial(self._raw, engine, name) for name in raw}
            if served := [name for name in self.variants if name in SERVED]:
                note("starting a treeroll service")
                service = await stack.enter_async_context(BenchService(self._service()))
                variants |= {name: partial(self._served, service, name) for name in served}
            yield {name: variants[name] for name in self.variants}

    def _service(self) -> dict[str, Any]:
        return {"generator": self.generator.model_dump(mode="json")}

    async def _raw(self, engine: RawEngine, name: str, round_: int) -> Figures:
        await engine.forget()
        await asyncio.sleep(SETTLE_S)
        meter = await RAW[name](engine, self.workload, self.workload.tasks(round_, name))
        return meter.figures()

    async def _served(self, service: BenchService, name: str, round_: int) -> Figures:
        await asyncio.sleep(SETTLE_S)
        meter = await service.grow(SERVED[name], self.workload, self.workload.tasks(round_, name))
        return meter.figures()


def add_efficiency(measured: Rounds) -> None:
    """Complete figures by the sharing efficiency against `flat` of the same round, where it ran."""
    if "flat" not in measured:
        return
    flats = measured["flat"]
    for name, found in measured.items():
        measured[name] = [
            {**figures, "efficiency": sharing_efficiency(figures, flat)}
            for figures, flat in zip(found, flats, strict=True)
        ]
