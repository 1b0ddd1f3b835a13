"""How tokens are sampled: one record, from a run's configuration to the engine.

A field has one name everywhere: in `RunConfig`, here, in the message that replicas get and, where it is a property of
the tokens, in the header of trees. What it is called in vLLM is decided where vLLM is called.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

# Characters of a stop string: replicas keep so much of a path's text for what straddles a segment's boundary.
MAX_STOP_CHARS = 256
MAX_STOPS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the branches of a run sample; the temperature may be a branch's own.

    In this order: logits are divided, or multiplied if negative, by `repetition_penalty` for tokens of the path, prompt
    included; end-of-sequence and stop ids are masked in the first `min_tokens`; then come `temperature`, `min_p`,
    `top_k` and `top_p`.
    """

    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0: off."""
    min_p: float = 0.0
    """Tokens less likely than so much of the likeliest one are not sampled."""
    repetition_penalty: float = 1.0
    """Above 0; 1: off."""
    min_tokens: int = 0
    """Completion tokens of a path, or new tokens of an engine's request, before which nothing ends it."""
    stop: tuple[str, ...] = ()
    """Texts that end a path with the token that completes one. Engines do not look for them: their replica does."""
    stop_token_ids: tuple[int, ...] = ()
    """Ids that end a path, as its last token: a run's own and, on the way to an engine, those of `eos_token_ids`."""
    eos_token_ids: tuple[int, ...] = ()
    """Those of them that are the model's end of sequence."""
    top_logprobs: int = 0
    """Above 0: entropies are estimated from so many logprobs per token."""
    per_request_seed: bool = False
    """Sample from the request's own seed."""
    ignore_eos: bool = False
    """The model's end of sequence ends nothing."""

    @classmethod
    def of(cls, source: Any, **changes: Any) -> "Sampling":
        """From whatever has attributes of the same names, but for `changes`."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            value = changes[field.name] if field.name in changes else getattr(source, field.name)
            values[field.name] = tuple(value) if isinstance(field.default, tuple) else value
        return cls(**values)

    def ending_with(self, eos_token_ids: list[int]) -> "Sampling":
        """With the model's end-of-sequence ids as stop ids too, unless they are ignored."""
        eos = () if self.ignore_eos else tuple(eos_token_ids)
        own = tuple(token for token in self.stop_token_ids if token not in eos)
        return replace(self, stop_token_ids=eos + own, eos_token_ids=eos)
