"""vLLM in this process, as a program uses it that has no treeroll: the baseline of our own engine."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from treeroll.generator.affinity import asked_threads, claim_cores
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.vllm_engine import CPU_BLOCK_SIZE, GPU_BLOCK_SIZE, VllmEngine

SEED = 1
RESET_S = 10.0


def on_gpu() -> bool:
    """Whether engines here will run on a GPU."""
    import torch

    return bool(torch.cuda.is_available())


def default_block_size() -> int:
    """Tokens per KV block that an engine here takes unless told otherwise."""
    return GPU_BLOCK_SIZE if on_gpu() else CPU_BLOCK_SIZE


@dataclass(frozen=True, slots=True)
class Completion:
    """What one request gave."""

    token_ids: Sequence[int]
    logprobs: Sequence[float]
    cached_tokens: int
    stopped: bool
    """At a stop id; else at its length."""


class RawEngine:
    """The same AsyncLLM that a replica has, started and bound alike; requests go straight to it.

    Requests want their output once, at the end: nothing costs a caller less.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        self._config = config
        self._engine = VllmEngine(config, SEED)
        self._llm: Any = None
        self._ids = count()

    async def start(self) -> None:
        """Load and warm up. EngineError if that fails."""
        if not on_gpu():
            claim_cores(0, self._config.replicas, asked_threads(os.environ))
        await self._engine.start()
        self._llm = self._engine.llm

    @property
    def block_size(self) -> int:
        """Tokens per KV block."""
        return self._engine.info.block_size

    async def complete(self, prefix: Sequence[int], tokens: int, stop_ids: Sequence[int]) -> Completion:
        """Sample up to `tokens` tokens at temperature 1, with their logprobs; without stop ids, exactly that many."""
        from vllm import SamplingParams
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            temperature=1.0,
            max_tokens=tokens,
            stop_token_ids=list(stop_ids),
            ignore_eos=True,
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            skip_clone=True,
        )
        outputs = self._llm.generate(tokens_input(list(prefix)), params, f"b{next(self._ids)}")
        found = [output async for output in outputs]  # one; ending the iteration early would abort the request
        done = found[0].outputs[0]
        stopped = done.finish_reason == "stop"
        return Completion(done.token_ids, done.logprobs.logprobs, found[0].num_cached_tokens or 0, stopped)

    async def forget(self) -> None:
        """Empty the KV cache, so that no variant finds what another computed."""
        async with asyncio.timeout(RESET_S):
            while not await self._llm.reset_prefix_cache():  # noqa: ASYNC110 - not while a finished request still holds blocks
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """End the engine's processes."""
        await self._engine.shutdown()
