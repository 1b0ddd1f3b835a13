"""An engine over a network in this process: it samples from the very weights that gradients are taken of.

Every request draws from its own seed, so a run's trees depend on seeds and weights alone, however requests are batched
(but for the rounding of float32). For benchmarks: continuous batching and copied prefixes, and nothing faster.
"""

import asyncio
from array import array
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from treeroll import __version__
from treeroll.bench.learning.decoder import Decoder
from treeroll.bench.learning.network import Network
from treeroll.errors import EngineError, InvalidInput
from treeroll.generator.engine import (
    Delta,
    EngineInfo,
    EngineRequest,
    EngineStats,
    Finish,
    VersionSpan,
    check_fits,
)
from treeroll.sampling import Sampling

STEPS = 8  # tokens of a request between two deltas
Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]


@dataclass(eq=False)
class _Live:
    """A request: its tokens so far, and what its caller has not seen yet."""

    request: EngineRequest
    ids: list[int]
    logprobs: list[float] = field(default_factory=list)
    cached: int | None = None
    told: int = 0
    finish: Finish | None = None
    outputs: deque[Delta | Exception] = field(default_factory=deque)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, token: int, logprob: float) -> None:
        """One more token, which may be the last."""
        self.ids.append(token)
        self.logprobs.append(logprob)
        if token in self.request.sampling.stop_token_ids:
            self.finish = "eos"
        elif len(self.ids) >= self.request.max_total:
            self.finish = "length"

    def tell(self) -> None:
        """Hand over what is new."""
        new = len(self.logprobs) - self.told
        if new or self.finish is not None:
            ids = self.ids[len(self.ids) - new :]
            cached = self.cached if not self.told else None
            spans = [VersionSpan(0, new)] if new else []
            self.outputs.append(Delta(ids, self.logprobs[self.told :], spans, None, cached, self.finish))
            self.told += new
            self.ready.set()


class TorchEngine:
    """See Engine. Temperatures above 0 and stop ids are all of sampling that it knows; it refuses the rest."""

    def __init__(self, network: Network, name: str, slots: int = 256, longest: int = 512) -> None:
        """`name` is the model's. The context is the model's too, but requests have room for `longest` tokens."""
        self.weight_version, self.weight_digest = 0, ""  # a network that is trained meanwhile goes by one name
        self._info = EngineInfo("torch", __version__, name, 1, network.longest, slots, slots * longest, "processed")
        self._longest = longest
        self._decoder = Decoder(network, slots, longest)
        self._live: dict[str, _Live] = {}
        self._waiting: list[_Live] = []
        self._rows: list[_Live] = []
        self._work, self._going = asyncio.Event(), asyncio.Event()
        self._going.set()
        self._loop: asyncio.Task[None] | None = None
        self._dead = ""

    async def start(self) -> None:
        """The weights are there already."""
        self._loop = asyncio.create_task(self._decode_forever(), name="torch-engine")

    @property
    def info(self) -> EngineInfo:
        """Facts as configured."""
        return self._info

    async def stage_weights(self, version: int, path: str, digest: str = "") -> str:
        """Refused: the weights are the network's own."""
        raise InvalidInput("the engine of this bench samples from a network in its process; change the network itself")

    async def flip_weights(self, version: int, recompute: bool = False) -> None:
        """Refused, as nothing is ever staged."""
        raise InvalidInput(f"weight version {version} is not staged here")

    async def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        """See Engine."""
        if self._dead:
            raise EngineError(self._dead)
        check_fits(request, self._longest)
        _check(request.sampling)
        if request.request_id in self._live:
            raise InvalidInput(f"request {request.request_id} is live already")
        live = self._live[request.request_id] = _Live(request, array("i", request.prefix_ids).tolist())
        self._waiting.append(live)
        self._work.set()
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
            live.finish = live.finish or "abort"
            self._live.pop(request.request_id, None)
            self._work.set()

    async def abort(self, request_ids: Iterable[str]) -> None:
        """See Engine."""
        for request_id in request_ids:
            if (live := self._live.get(request_id)) is not None and live.finish is None:
                live.finish = "abort"
                if live in self._waiting:
                    live.tell()
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
        return bool(self._dead)

    def stats(self) -> EngineStats:
        """See Engine."""
        used = sum(len(live.ids) for live in self._rows)
        return EngineStats(len(self._rows), len(self._waiting), used / self._info.kv_tokens)

    async def shutdown(self) -> None:
        """See Engine."""
        self._die("the engine was shut down")
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    def _die(self, cause: str) -> None:
        self._dead = self._dead or cause
        for live in self._live.values():
            live.outputs.append(EngineError(self._dead))
            live.ready.set()

    async def _decode_forever(self) -> None:
        try:
            while True:
                self._work.clear()
                arrived = self._admitted()
                if not self._rows and not arrived:
                    await self._work.wait()
                    continue
                await self._going.wait()
                # In a thread: torch leaves the interpreter to the service while it computes.
                told = await asyncio.to_thread(self._quantum, arrived)
                for live in told:
                    live.tell()
        except Exception as error:  # whatever torch may raise
            self._die(f"decoding failed: {type(error).__name__}: {error}")

    def _admitted(self) -> list[_Live]:
        """Requests that get a row now, by priority and then in order."""
        self._waiting = [live for live in self._waiting if live.finish is None]
        self._waiting.sort(key=lambda live: live.request.priority)
        free = self._info.slots - len(self._rows)
        arrived, self._waiting = self._waiting[:free], self._waiting[free:]
        return arrived

    def _quantum(self, arrived: list[_Live]) -> list[_Live]:
        """Start those that arrived, and decode STEPS tokens of every row. Returns whoever has something to tell."""
        self._place(arrived)
        told = list(self._rows)
        self._drop_finished()
        noise = _noise(self._rows)
        for step in range(STEPS):
            if not self._rows:
                break
            noise = self._step(noise, step)
        return told

    def _place(self, arrived: list[_Live]) -> None:
        """A row each: copied from a row that begins alike, else computed."""
        computed: list[tuple[int, list[int]]] = []
        copies: list[tuple[int, int, int]] = []
        for live in arrived:
            tokens = live.ids[:-1]
            row, source = len(self._rows), self._alike(live, tokens)
            if source is None and tokens:
                computed.append((row, tokens))
            elif source is not None:
                copies.append((source, row, len(tokens)))
            live.cached = 0 if source is None else len(tokens)
            self._rows.append(live)
        self._decoder.fill(computed)
        for source, row, count in copies:  # in order: a source may itself be a copy
            self._decoder.copy(source, row, count)

    def _alike(self, live: _Live, tokens: list[int]) -> int | None:
        """A row of the same tree and salt that begins with these tokens."""
        mine = live.request
        for row, other in enumerate(self._rows if mine.tree_id else ()):
            theirs = other.request
            related = (theirs.tree_id, theirs.cache_salt) == (mine.tree_id, mine.cache_salt)
            if related and len(other.ids) > len(tokens) and other.ids[: len(tokens)] == tokens:
                return row
        return None

    def _step(self, noise: Floats, step: int) -> Floats:
        """One token for every row; rows that ended give their place to the last. Returns the noise of who is left."""
        last = torch.tensor([live.ids[-1] for live in self._rows])
        lengths = torch.tensor([len(live.ids) - 1 for live in self._rows])
        temperatures = torch.tensor([live.request.sampling.temperature for live in self._rows])
        logprobs = torch.log_softmax(self._decoder.step(last, lengths) / temperatures[:, None], -1)
        ladder = logprobs.double().exp().cumsum(-1)
        drawn = torch.from_numpy(noise[:, step : step + 1].copy()) * ladder[:, -1:]
        tokens = torch.searchsorted(ladder, drawn, right=True).clamp(max=ladder.shape[1] - 1)
        found = logprobs.gather(1, tokens)[:, 0].tolist()
        for live, token, logprob in zip(self._rows, tokens[:, 0].tolist(), found, strict=True):
            live.take(token, logprob)
        return noise[self._drop_finished()]

    def _drop_finished(self) -> list[int]:
        """Fill the places of finished rows with the last ones. Returns where each row was before."""
        before = list(range(len(self._rows)))
        for row in reversed(range(len(self._rows))):
            if self._rows[row].finish is not None:
                end = len(self._rows) - 1
                if row != end:
                    self._decoder.copy(end, row, len(self._rows[end].ids) - 1)
                    self._rows[row], before[row] = self._rows[end], before[end]
                self._rows.pop()
                before.pop()
        return before


def _check(sampling: Sampling) -> None:
    plain = Sampling(
        temperature=sampling.temperature, stop=sampling.stop, stop_token_ids=sampling.stop_token_ids,
        eos_token_ids=sampling.eos_token_ids, per_request_seed=sampling.per_request_seed,
        ignore_eos=sampling.ignore_eos,
    )  # fmt: skip
    if sampling != plain or sampling.temperature <= 0:
        raise InvalidInput(
            "the engine of this bench samples at temperatures above 0 and ends at stop ids; leave top_p, top_k, min_p, "
            "repetition_penalty, min_tokens and top_logprobs as they are"
        )


def _noise(rows: list[_Live]) -> Floats:
    """Uniform draws [rows, STEPS] in [0, 1), by each request's seed and the place of the token."""
    seeds = np.array([live.request.seed & (2**64 - 1) for live in rows], np.uint64)
    places = np.array([len(live.ids) for live in rows], np.uint64)[:, None] + np.arange(STEPS, dtype=np.uint64)
    with np.errstate(over="ignore"):
        # SplitMix64 (Steele, Lea, Flood 2014), keyed by the seed.
        mixed = _mixed(seeds)[:, None] + places * np.uint64(0x9E3779B97F4A7C15)
        return np.asarray(_mixed(mixed) >> np.uint64(11)) * 2.0**-53


def _mixed(x: Words) -> Words:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
