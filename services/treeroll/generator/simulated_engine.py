"""A shipped engine without a model: deterministic by seed, under a time model and with a prefix cache.

For tests, capacity planning and demos of many replicas. Never chosen unless it is asked for by name.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from treeroll import __version__
from treeroll.errors import EngineError, InvalidInput
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.engine import Delta, EngineInfo, EngineRequest, EngineStats, check_fits
from treeroll.generator.simulated_cache import BlockCache
from treeroll.generator.simulated_request import SimulatedRequest
from treeroll.generator.simulated_text import Writer, chain_of
from treeroll.generator.weight_versions import WeightVersions
from treeroll.tree.rng import hash64, uniform
from treeroll.weights.layout import Layout, layout_of

LETTERS = "0123456789+-*=:,. \n\\{}CNSTabcdefghiknoprstuwxy"


class SimulatedEngine:
    """Continuous batching in quanta of `stream_interval` steps; see SimulatedLatency for what a step costs."""

    def __init__(  # noqa: PLR0913  # settings, by keyword
        self,
        tokenizer: Any,
        *,
        model: str = "simulated",
        slots: int = 64,
        block_size: int = 32,
        kv_tokens: int = 1 << 20,
        max_model_len: int = 4096,
        stream_interval: int = 16,
        latency: SimulatedLatency | None = None,
        seed: int = 0,
        logprobs_mode: str = "processed",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`tokenizer` is a tokenizers.Tokenizer with one token per character. `seed` drives jitter only. Tokens are
        drawn without a temperature, so log probabilities of either mode are the same."""
        self._tokenizer = tokenizer
        self._info = EngineInfo(
            "simulated", __version__, model, block_size, max_model_len, slots, kv_tokens, logprobs_mode
        )
        self._stream_interval = stream_interval
        self._latency = latency or SimulatedLatency()
        self._seed = seed
        self._sleep = sleep
        self._ids_of = _letter_ids(tokenizer)
        self._letters_of = {token: letter for letter, token in self._ids_of.items()}
        self._cache = BlockCache(kv_tokens // block_size, block_size)
        self._live: dict[str, SimulatedRequest] = {}
        self._waiting: list[SimulatedRequest] = []
        self._running: list[SimulatedRequest] = []
        self._order = count()
        self._quanta = count()
        self._preempted = 0
        self.decoded_tokens = 0
        """Since it was made, whatever became of them."""
        self._work = asyncio.Event()
        self._going = asyncio.Event()
        self._going.set()
        self._loop: asyncio.Task[None] | None = None
        self._dead: str | None = None
        self._weights = WeightVersions(self._layout)

    async def start(self) -> None:
        """Nothing to load."""
        self._loop = asyncio.create_task(self._decode_forever(), name="simulated-engine")

    @property
    def info(self) -> EngineInfo:
        """Facts as configured."""
        return self._info

    @property
    def weight_version(self) -> int:
        """See Engine."""
        return self._weights.version

    @property
    def weight_digest(self) -> str:
        """See Engine."""
        return self._weights.digest

    async def stage_weights(self, version: int, path: str, digest: str = "") -> str:
        """See Engine. Names and shapes may be any if the model's directory has no weights."""
        return await self._weights.stage(version, path, digest)

    async def flip_weights(self, version: int, recompute: bool = False) -> None:
        """See Engine. Only the weights' digest counts: by it texts differ, and the logprobs of equal texts."""
        async with self._weights.updating:
            if self._dead is not None:
                raise EngineError(self._dead)
            if version == self._weights.version:
                return
            self._weights.take(version, await self._weights.staged(version), recompute)
            if recompute:
                for live in list(self._running):
                    self._preempt(live)
                self._cache.clear()
            for live in self._live.values():
                self._write(live)

    async def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        """See Engine."""
        async with self._weights.updating:
            live = self._admit(request)
        try:
            while True:
                while live.outputs:
                    output = live.outputs.popleft()
                    if isinstance(output, Exception):
                        raise output
                    yield output
                    if output.finish is not None:
                        return
                live.ready.clear()
                await live.ready.wait()
        finally:
            live.abort()
            self._live.pop(request.request_id, None)
            self._work.set()

    async def abort(self, request_ids: Iterable[str]) -> None:
        """See Engine."""
        for request_id in request_ids:
            if (live := self._live.get(request_id)) is not None:
                live.abort()
        self._work.set()

    async def pause(self) -> None:
        """See Engine."""
        self._going.clear()

    async def resume(self) -> None:
        """See Engine."""
        self._going.set()

    @property
    def errored(self) -> bool:
        """See Engine."""
        return self._dead is not None

    def stats(self) -> EngineStats:
        """See Engine."""
        usage = self._cache.used / max(1, self._cache.blocks)
        running, waiting = (sum(not live.finished for live in lives) for lives in (self._running, self._waiting))
        return EngineStats(running, waiting, usage, self._preempted)

    async def shutdown(self) -> None:
        """See Engine."""
        self.die("the simulated engine was shut down")
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    def die(self, cause: str) -> None:
        """Fail every request and refuse new ones, as a crashed engine does (fault tests)."""
        self._dead = self._dead or cause
        for live in self._live.values():
            if not live.finished:
                live.fail(EngineError(self._dead))

    def _admit(self, request: EngineRequest) -> SimulatedRequest:
        if self._dead is not None:
            raise EngineError(self._dead)
        check_fits(request, min(self._info.max_model_len, self._cache.blocks * self._info.block_size))
        if request.request_id in self._live:
            raise InvalidInput(f"request {request.request_id} is live already")
        weights = self._weights
        salt = weights.salt(request.cache_salt)
        live = SimulatedRequest(request, self._ids_of, next(self._order), salt, weights.version)
        self._write(live)
        self._live[request.request_id] = live
        self._waiting.append(live)
        self._waiting.sort(key=lambda waiting: waiting.rank)
        self._work.set()
        return live

    def _write(self, live: SimulatedRequest) -> None:
        """Let a request go on as the weights in use would have it."""
        request, digest = live.request, self._weights.digest
        prompt, written = live.ids[: request.prompt_tokens], live.ids[request.prompt_tokens :]
        chain = chain_of(self._tokenizer.decode(prompt.tolist()), prompt.tobytes())
        text = "".join(self._letters_of.get(token, "?") for token in written)
        seed = hash64(request.seed, digest) if digest else request.seed
        greedy = request.sampling.temperature == 0
        writer = Writer(chain, text, 0 if greedy else seed, greedy, request.sampling.ignore_eos)
        live.follow(iter(writer), 1.0 + uniform(hash64(digest), "sureness") if digest else 1.0)

    def _layout(self) -> Layout | None:
        directory = Path(self._info.model)
        return layout_of(directory) if any(directory.glob("*.safetensors")) else None

    async def _decode_forever(self) -> None:
        while True:
            self._retire()
            uncached = self._fill_slots()
            if not self._running:
                self._work.clear()
                if not self._waiting:
                    await self._work.wait()
                continue
            await self._sleep(self._quantum_s(uncached))
            await self._going.wait()
            self._retire()
            for live in list(self._running):
                if live.holding is not None:  # not preempted by one before it
                    made = live.decode(self._stream_interval, partial(self._weights.span, began=live.began))
                    self.decoded_tokens += made
                    self._make_room(live)

    def _retire(self) -> None:
        for live in self._running:
            if live.finished and live.holding is not None:
                self._cache.release(live.holding)
        self._running = [live for live in self._running if not live.finished]
        self._waiting = [live for live in self._waiting if not live.finished]

    def _fill_slots(self) -> int:
        """Admit waiting requests in order. Returns the tokens to prefill."""
        uncached = 0
        while self._waiting and len(self._running) < self._info.slots:
            live = self._waiting[0]
            admitted = self._cache.admit(live.salt, live.ids)
            if admitted is None:
                break
            live.holding, cached = admitted
            if live.cached_tokens is None:
                live.cached_tokens = cached
            uncached += len(live.ids) - cached
            self._running.append(self._waiting.pop(0))
        return uncached

    def _make_room(self, live: SimulatedRequest) -> None:
        """Blocks for the new tokens, at the cost of whoever ranks last if there are none."""
        while live.holding is not None and not self._cache.grow(live.holding, live.salt, live.ids):
            self._preempt(max(self._running, key=lambda running: running.rank))

    def _preempt(self, victim: SimulatedRequest) -> None:
        if victim.holding is not None:
            self._cache.release(victim.holding)
        victim.holding = None
        self._running.remove(victim)
        self._preempted += 1
        if not victim.finished:
            self._waiting.append(victim)
            self._waiting.sort(key=lambda waiting: waiting.rank)

    def _quantum_s(self, uncached: int) -> float:
        latency = self._latency
        decode = latency.step_s * max(1.0, len(self._running) / latency.knee) * self._stream_interval
        jitter = 1.0 + latency.jitter * (2.0 * uniform(self._seed, "jitter", next(self._quanta)) - 1.0)
        return (decode + latency.prefill_token_s * uncached) * jitter


def _letter_ids(tokenizer: Any) -> dict[str, int]:
    """Token of each character that the writer uses. InvalidInput if the tokenizer has no token for one."""
    ids: dict[str, int] = {}
    for letter in LETTERS:
        encoded = tokenizer.encode(letter, add_special_tokens=False).ids
        if len(encoded) != 1:
            raise InvalidInput(
                f"the simulated engine needs a token per character: the tokenizer has none for {letter!r}"
            )
        ids[letter] = encoded[0]
    return ids
