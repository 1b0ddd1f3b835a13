"""A replica of a world: a real one over the simulated engine, which fails or falls silent when it is told to.

A file holds its Mood, which the engine reads at every request and every delta. Another one says how many tokens its
engines have decoded, in all its lives: no part of the service has a hand in that figure.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncGenerator
from enum import Enum
from pathlib import Path

import uvloop

from treeroll.demo import MODEL_DIR
from treeroll.errors import TreerollError
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Delta, EngineRequest
from treeroll.generator.replica import Replica
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.tree.rng import hash64

# As `treeroll.testing.service` has it: growth depends on both.
MAX_MODEL_LEN = 1024
# Tokens come in this many steps: few, so that a pause is seen where it is and not a burst of tokens later.
STREAM_INTERVAL = 4
LOOK_S = 0.1
COUNT_S = 0.05


class Mood(Enum):
    """How an engine treats its requests."""

    WELL = "well"
    FAILING = "failing"
    """Every request ends with an error at once."""
    MUTE = "mute"
    """Requests are taken, and nothing comes of them."""


class MoodyEngine(SimulatedEngine):
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

    def _mood(self) -> Mood:
        return Mood(self._file.read_text())

    async def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        """See Engine."""
        if self._mood() is Mood.FAILING:
            raise ValueError("the engine fails every request, as it was told to")
        async for delta in super().generate(request):
            while (mood := self._mood()) is Mood.MUTE:  # noqa: ASYNC110 - the file has no event
                await asyncio.sleep(LOOK_S)
            if mood is Mood.FAILING:
                raise ValueError("the engine fails every request, as it was told to")
            yield delta


def decoded_tokens(count: Path) -> int:
    """What such a file says, up to COUNT_S late."""
    return int(count.read_text()) if count.exists() else 0


def main(name: str, incarnation: str, address: str, slots: str, step_s: str, mood: str, count: str) -> None:
    """Work until SIGTERM; ends with what a replica's process ends with."""
    detokenizer = Detokenizer(MODEL_DIR)
    engine = MoodyEngine(detokenizer, int(slots), float(step_s), Path(mood), hash64(name, int(incarnation)))
    try:
        uvloop.run(_work(Replica(engine, detokenizer, name, int(incarnation), address), engine, Path(count)))
    except TreerollError as error:
        sys.exit(f"error: {error}")


async def _work(replica: Replica, engine: MoodyEngine, count: Path) -> None:
    working, counting = asyncio.create_task(replica.run()), asyncio.create_task(_count(engine, count))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await working
    counting.cancel()


async def _count(engine: MoodyEngine, count: Path) -> None:
    """Keep the file true."""
    before, whole = decoded_tokens(count), count.with_name(f"{count.name}.new")
    while True:
        whole.write_text(str(before + engine.decoded_tokens))
        whole.rename(count)
        await asyncio.sleep(COUNT_S)
