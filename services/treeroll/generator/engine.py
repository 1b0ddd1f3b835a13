"""What a replica needs from an inference engine. vLLM and a simulated one pass the same contract tests."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple, Protocol

from treeroll.errors import BadOutput, InvalidInput
from treeroll.sampling import Sampling

Finish = Literal["eos", "stop", "length", "abort", "error"]
# A logprob is at most 0 and an entropy at least 0, but for the rounding of float32.
ROUNDING = 1e-3


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says about itself once started; fields as in the proto message of the same name."""

    engine: str
    engine_version: str
    model: str
    block_size: int
    max_model_len: int
    slots: int
    kv_tokens: int
    logprobs_mode: str
    random_weights: bool = False
    """Not those of the model's directory: not in the message, a replica's model digest says it."""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One continuation of one prefix."""

    request_id: str
    """Unique among the engine's live requests."""
    prefix_ids: bytes
    """Everything before the first new token, int32 little-endian, at least one token."""
    prompt_tokens: int
    """Tokens of the prefix that are prompt."""
    max_total: int
    """Prefix plus new tokens at which the request ends with "length"."""
    sampling: Sampling
    """`stop_token_ids` are all ids that end it: engines run without a tokenizer. They do not look for `stop`."""
    seed: int
    cache_salt: str = ""
    """Requests of different salts never share KV, nor do those that began with different weights."""
    priority: int = 0
    """Lower runs first when slots are scarce."""
    tree_id: str = ""
    traceparent: str = ""
    """W3C trace context that an engine which traces its requests puts the span of this one below; "": none."""


def check_fits(request: EngineRequest, longest: int) -> None:
    """InvalidInput unless the request has a prefix, room for a token after it, and no more than `longest` in all."""
    prefix_tokens = len(request.prefix_ids) // 4
    if not 0 < prefix_tokens < request.max_total <= longest:
        raise InvalidInput(
            f"request {request.request_id}: a prefix of {prefix_tokens} tokens up to {request.max_total} does not fit;"
            f" the engine takes 1 to {longest} tokens in all"
        )


class VersionSpan(NamedTuple):
    """Consecutive tokens of one request that the same weights made."""

    version: int
    tokens: int
    kv_mixed: bool = False
    """They were decoded on KV that older weights had computed, at least in part."""


def first_tokens(spans: Iterable[VersionSpan], tokens: int) -> list[VersionSpan]:
    """The spans of the first so many tokens."""
    kept: list[VersionSpan] = []
    for span in spans:
        if tokens <= 0:
            break
        kept.append(span._replace(tokens=min(span.tokens, tokens)))
        tokens -= span.tokens
    return kept


@dataclass(slots=True)
class Delta:
    """New tokens of one request since its previous delta; the last one of a request has `finish`.

    Plain lists, because that is what vLLM makes: the segmenter turns them into arrays once.
    """

    token_ids: Sequence[int]
    logprobs: Sequence[float]
    """Log probabilities, as many as token_ids."""
    spans: Sequence[VersionSpan]
    """Which weights made the tokens, in order, covering token_ids."""
    entropies: Sequence[float] | None = None
    """Entropies in nats, as many as token_ids; None unless top_logprobs is above 0."""
    cached_tokens: int | None = None
    """Prefix tokens found in the KV cache; on the first delta only."""
    finish: Finish | None = None
    """"eos" (a stop id, which is the last token), "length", "abort" (asked for) or "error" (the engine gave up).

    No engine says "stop": that is a stop string, which the branch has found."""


def check_numbers(delta: Delta, prefix_tokens: int, entropies: bool) -> None:
    """BadOutput unless every token has a logprob, and an entropy where `entropies` are wanted, and all of them can be.

    Broken logits show here first: their logprobs are nan, and a single one in a batch makes a whole training step nan.
    """
    if not 0 <= (delta.cached_tokens or 0) <= prefix_tokens:
        raise BadOutput(
            f"the engine found {delta.cached_tokens} tokens of a prefix of {prefix_tokens}, which cannot be"
        )
    if any(token < 0 for token in delta.token_ids):
        raise BadOutput(f"the engine gave the token {min(delta.token_ids)}, which cannot be")
    labelled = sum(span.tokens for span in delta.spans)
    if labelled != len(delta.token_ids):
        raise BadOutput(f"the engine gave {len(delta.token_ids)} tokens and a weight version for {labelled} of them")
    columns = [("logprob", delta.logprobs, -inf, ROUNDING)]
    if entropies:
        columns.append(("entropy", delta.entropies or (), -ROUNDING, inf))
    for name, values, low, high in columns:
        if len(values) != len(delta.token_ids):
            raise BadOutput(f"the engine gave {len(delta.token_ids)} tokens and a {name} for {len(values)} of them")
        for token, value in zip(delta.token_ids, values, strict=True):
            if not (low < value < high):  # false for nan
                raise BadOutput(f"the engine gave token {token} the {name} {value}, which cannot be")


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Load of an engine."""

    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    """Share of KV blocks in use, 0..1."""
    preempted: int = 0
    """Requests preempted since start."""


class Engine(Protocol):
    """An inference engine for one model.

    EngineError means that the engine is dead and its process should go; InvalidInput that it refuses this one request.
    """

    async def start(self) -> None:
        """Load and warm up; after it `info` holds and requests run at full speed. EngineError if that fails."""

    @property
    def info(self) -> EngineInfo:
        """Facts that are known after start()."""

    @property
    def weight_version(self) -> int:
        """Version of the weights in use; 0 is the model as it was started with."""

    @property
    def weight_digest(self) -> str:
        """Digest of the weights in use; empty for version 0."""

    async def stage_weights(self, version: int, path: str, digest: str = "") -> str:
        """Check a directory of weights, and have it at hand, while decoding goes on. Returns its digest.

        Versions grow. The last call wins: what another one has staged, or was about to, is given up.
        Raises InvalidInput, mostly as BadWeights, and then nothing has changed.
        """

    async def flip_weights(self, version: int, recompute: bool = False) -> None:
        """Take staged weights into use; nothing happens if they are. No request begins meanwhile.

        Requests keep their place, and every token says by whose weights it was made. With `recompute` their KV is
        computed again; without it they go on with what they have, and their further tokens are `kv_mixed`. Requests
        that begin later read no KV of older weights in either case.
        Raises InvalidInput if this version is not staged, or has changed since, and then nothing has changed.
        EngineError if it could not be loaded: the engine may have parts of it, and is dead.
        """

    def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        """Run a request; ends after the delta that has `finish`. Closing the generator early aborts the request.

        Raises InvalidInput if the engine refuses the request, EngineError if the engine is dead.
        """

    async def abort(self, request_ids: Iterable[str]) -> None:
        """End requests early: they yield what was generated, then finish with "abort". Unknown ids pass."""

    async def pause(self) -> None:
        """Stop decoding; requests keep their place and their KV."""

    async def resume(self) -> None:
        """Go on decoding."""

    @property
    def errored(self) -> bool:
        """True once the engine is dead."""

    def stats(self) -> EngineStats:
        """Load right now, cheap to ask for."""

    async def shutdown(self) -> None:
        """Stop everything the engine started. Idempotent; live requests end with EngineError or "abort"."""
