"""The step model of a real engine: decode steps at several batch sizes, prefill at several lengths, least squares."""

import asyncio
import os
import random
import tempfile
from array import array
from collections.abc import Callable, Sequence
from itertools import count, pairwise
from pathlib import Path

from treeroll import clock
from treeroll.bench.models import find_model
from treeroll.bench.raw_engine import SEED, default_block_size, on_gpu
from treeroll.bench.rounds import median
from treeroll.generator.affinity import asked_threads, claim_cores
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.engine import Engine, EngineRequest
from treeroll.generator.vllm_engine import VllmEngine
from treeroll.sampling import Sampling
from treeroll.simulation.step_model import StepModel, fit

DECODED_TOKENS = 129
PREFILL_SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
REPEATS = 3
PREFIX_TOKENS = 4


async def fit_vllm(model: str, slots: int, note: Callable[[str], None]) -> StepModel:
    """Start vLLM here, as a replica would, fit a step model to it, and stop it. `model` as for find_model."""
    if not on_gpu():
        claim_cores(0, 1, asked_threads(os.environ))
    with tempfile.TemporaryDirectory(prefix="treeroll-model-") as folder:
        found = find_model(model, Path(folder))
        engine = VllmEngine(
            GeneratorConfig(
                model=found.path, load_format=found.load_format, slots=slots, block_size=default_block_size()
            ),
            SEED,
        )
        try:
            await engine.start()
            return await measure(engine, note)
        finally:
            await engine.shutdown()


async def measure(engine: Engine, note: Callable[[str], None]) -> StepModel:
    """Fit a step model to a started engine that does nothing else.

    Batches go up to its slots in powers of two, prefixes up to half its context.
    """
    probe = _Probe(engine)
    batches = [1 << power for power in range(engine.info.slots.bit_length())]
    lengths = [int(engine.info.max_model_len / 2 * share) for share in PREFILL_SHARES]
    steps, prefills = [], []
    for batch in batches:
        seconds = median([await probe.step_s(batch) for _ in range(REPEATS)])
        note(f"a decode step of {batch} requests: {seconds * 1e3:.2f} ms")
        steps.append((batch, seconds))
    for tokens in lengths:
        seconds = median([await probe.prefill_s(tokens) for _ in range(REPEATS)])
        note(f"prefill of {tokens} tokens: {seconds * 1e3:.2f} ms")
        prefills.append((tokens, seconds))
    return fit(steps, prefills)


class _Probe:
    """Requests of random tokens, so that nothing of a prefix is in the KV cache."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._random = random.Random(0)  # noqa: S311 - noise, not a secret
        self._numbers = count()

    async def step_s(self, batch: int) -> float:
        """Seconds per decode step while `batch` requests run."""
        times = await asyncio.gather(*[self._times(PREFIX_TOKENS, DECODED_TOKENS) for _ in range(batch)])
        # From when the last of them has begun to when the first of them ends, all of them run.
        start, end = max(of[0][0] for of in times), min(of[-1][0] for of in times)
        steps = [_tokens_at(of, end) - _tokens_at(of, start) for of in times]
        return (end - start) * batch / sum(steps)

    async def prefill_s(self, tokens: int) -> float:
        """Seconds from a request to its first token."""
        started = clock.monotonic()
        return (await self._times(tokens, 1))[0][0] - started

    async def _times(self, prefix: int, new: int) -> list[tuple[float, int]]:
        """When the request had how many tokens."""
        ids = array("i", [self._random.randrange(64) for _ in range(prefix)])
        request = EngineRequest(
            f"fit-{next(self._numbers)}", ids.tobytes(), prefix, prefix + new, Sampling(ignore_eos=True), 0
        )
        times, tokens = [], 0
        async for delta in self._engine.generate(request):
            tokens += len(delta.token_ids)
            times.append((clock.monotonic(), tokens))
        return times


def _tokens_at(times: Sequence[tuple[float, int]], at: float) -> float:
    """Tokens at a time, linear between two deltas."""
    for (t0, n0), (t1, n1) in pairwise(times):
        if t0 <= at <= t1:
            return n0 + (n1 - n0) * (at - t0) / (t1 - t0) if t1 > t0 else n1
    return times[-1][1]
