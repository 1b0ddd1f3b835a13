"""What replicas of a simulated world write: tokens by seed and position, their texts, and what a tool answers."""

import struct
from array import array
from dataclasses import dataclass
from functools import lru_cache

from treeroll.tools.base import Tool
from treeroll.tree.node import Node, Observation, Tokens
from treeroll.tree.rng import hash64, uniform

EOS = 1
CALL_ENDS = range(7, 10)
NOTHING = Observation(b"", "")


def logprob_of(token: int) -> float:
    """Log probability of a token: by its id alone."""
    return -(token % 7) / 10


def text_of(token: int) -> str:
    """A token's text; a few end a call."""
    return f"{token}> " if token in CALL_ENDS else f"{token} "


def read_tokens(payload: "Payload") -> Tokens:
    """A payload's tokens; entropies are what their log probabilities give."""
    logprobs = array("f", map(logprob_of, payload.tokens))
    return Tokens(array("i", payload.tokens), logprobs, array("f", (-2 * value for value in logprobs)))


def stored(payload: "Payload", node: Node) -> "Payload":
    """What a store has of a node."""
    before, behind = node.inserted or NOTHING, node.observation or NOTHING
    tokens = [*ids_of(before), *payload.tokens, *ids_of(behind)]
    return Payload(node.token_start, tokens, before.text + payload.text + behind.text)


def ids_of(text: Observation) -> list[int]:
    """Token ids of what nobody sampled."""
    return [value for (value,) in struct.iter_unpack("<i", text.ids)]


def observe(tool: Tool, text: str, remark: str) -> Observation:
    """An answer that depends on the call: one to three tokens, whatever the tool would say."""
    return encode(f"{tool.name}: {text}{remark}")


def encode(text: str) -> Observation:
    """One to three tokens, by the text."""
    ids = [60 + hash64(text, place) % 9 for place in range(1 + hash64(text) % 3)]
    return Observation(struct.pack(f"<{len(ids)}i", *ids), "".join(f"{token} " for token in ids))


@lru_cache(1 << 16)  # worlds grow the same trees with faults and without, and grow branches that are lost again
def token_at(seed: int, position: int, end_share: float) -> int:
    """The world's language model: EOS with a fixed probability, else some other token."""
    return EOS if uniform(seed, "token", position) < end_share else 2 + hash64(seed, position) % 50


@dataclass
class Payload:
    """What a report brings of a segment's tokens, and what is stored of its node."""

    start: int
    tokens: list[int]
    text: str
