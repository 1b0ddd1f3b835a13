"""A replica of a world: a real one, over an engine which fails or falls silent when it is told to.

A file holds its Mood, which the engine reads at every request and every delta. Another one says how many tokens its
engines have decoded, in all its lives: no part of the service has a hand in that figure.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator
from enum import Enum
from pathlib import Path

import uvloop

from treeroll.demo import MODEL_DIR
from treeroll.errors import TreerollError
from treeroll.generator.config import GeneratorConfig, SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Delta, EngineRequest
from treeroll.generator.replica import Replica
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.generator.vllm_engine import VllmEngine
from treeroll.tree.rng import hash64

# As `treeroll.testing.service` has it: growth depends on both.
MAX_MODEL_LEN = 1024
# Tokens come in this many steps: few, so that a pause is seen where it is and not a burst of tokens later.
STREAM_INTERVAL = 4
VLLM_KV_CACHE_GIB = 0.25
LOOK_S = 0.1
COUNT_S = 0.05


class Mood(Enum):
    """How an engine treats its requests."""

    WELL = "well"
    FAILING = "failing"
    """Every request ends with an error at once."""
    MUTE = "mute"
    """Requests are taken, and nothing comes of them."""


class MoodySimulated(SimulatedEngine):
    """A simulated engine that is as well as its file says."""

    def __init__(self, detokenizer: Detokenizer, slots: int, step_s: float, mood: Path, seed: int) -> None:
        super().__init__(
            detokenizer.tokenizer,
            slots=slots,
            max_model_len=MAX_MODEL_LEN,
            stream_interval=STREAM_INTERVAL,
            latency=SimulatedLatency(step_s=step_s),
            seed=seed,
        )
        self._file = mood

    def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        """See Engine."""
        return _in_mood(self._file, super().generate(request))


class MoodyVllm(VllmEngine):
    """vLLM, as well as its file says."""

    def __init__(self, slots: int, mood: Path, seed: int) -> None:
        super().__init__(GeneratorConfig(slots=slots, kv_cache_gib=VLLM_KV_CACHE_GIB), seed)
        self._file = mood

    def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        """See Engine."""
        return _in_mood(self._file, super().generate(request))


def _mood(file: Path) -> Mood:
    return Mood(file.read_text())


async def _in_mood(file: Path, deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
    """What an engine makes of a request."""
    if _mood(file) is Mood.FAILING:
        raise ValueError("the engine fails every request, as it was told to")
    async with contextlib.aclosing(deltas):
        async for delta in deltas:
            while (mood := _mood(file)) is Mood.MUTE:  # noqa: ASYNC110 - the file has no event
                await asyncio.sleep(LOOK_S)
            if mood is Mood.FAILING:
                raise ValueError("the engine fails every request, as it was told to")
            yield delta


def decoded_tokens(count: Path) -> int:
    """What such a file says, up to COUNT_S late."""
    return int(count.read_text()) if count.exists() else 0


def main(name: str, incarnation: str, address: str, kind: str, slots: str, step_s: str, mood: str, count: str) -> None:
    """Work until SIGTERM; ends with what a replica's process ends with."""
    detokenizer, seed = Detokenizer(MODEL_DIR), hash64(name, int(incarnation))
    engine: MoodySimulated | MoodyVllm
    if kind == "vllm":
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # or threads of all engines wait for each other
        engine = MoodyVllm(int(slots), Path(mood), seed >> 33)
    else:
        engine = MoodySimulated(detokenizer, int(slots), float(step_s), Path(mood), seed)
    try:
        uvloop.run(_work(Replica(engine, detokenizer, name, int(incarnation), address), engine, Path(count)))
    except TreerollError as error:
        sys.exit(f"error: {error}")


async def _work(replica: Replica, engine: MoodySimulated | MoodyVllm, count: Path) -> None:
    working, counting = asyncio.create_task(replica.run()), asyncio.create_task(_count(engine, count))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await working
    counting.cancel()


async def _count(engine: MoodySimulated | MoodyVllm, count: Path) -> None:
    """Keep the file true."""
    before, whole = decoded_tokens(count), count.with_name(f"{count.name}.new")
    while True:
        whole.write_text(str(before + engine.decoded_tokens))
        whole.rename(count)
        await asyncio.sleep(COUNT_S)
