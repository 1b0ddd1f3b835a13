"""How fast simulated engines are, by a test's word instead of by time: slow until it has seen what it waits for."""

import asyncio

from treeroll.config import CoordinatorConfig
from treeroll.demo import MODEL_DIR
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.simulated_engine import SimulatedEngine

PATIENT = CoordinatorConfig(port=0, heartbeat_s=0.2, lease_s=60.0, mute_s=600.0)
"""A coordinator for replicas whose engine is slow to start, or whose process may be held up: it loses none for that."""


class Pace(SimulatedLatency, frozen=False):
    """Slow, so that there is work when something is to happen, until a test wants no more of that."""

    step_s: float = 0.05


class Halting:
    """The sleep of an engine that makes so many quanta of tokens, and then none for ever."""

    def __init__(self, quanta: int) -> None:
        self._left = quanta

    async def __call__(self, seconds: float) -> None:
        if not self._left:
            await asyncio.Event().wait()
        self._left -= 1
        await asyncio.sleep(0)


def halting_engine(quanta: int, slots: int = 16) -> SimulatedEngine:
    """One whose branches never come to their end, if that takes more than so many quanta of 16 tokens each."""
    tokenizer = Detokenizer(MODEL_DIR).tokenizer
    return SimulatedEngine(tokenizer, slots=slots, max_model_len=1024, sleep=Halting(quanta))
