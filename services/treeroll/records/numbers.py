"""Whether a segment's tokens, one by one, are such as an engine can have sampled."""

from array import array
from math import isfinite
from typing import Protocol

# A logprob may be so far above 0, and an entropy below, by rounding.
ROUNDING = 1e-3
# Ids are int32: all are below this.
ANY_ID = 2**31


class HasTokens(Protocol):
    """A Node or a SegmentNode: ids int32, the others float32, little-endian."""

    token_ids: bytes
    logprobs: bytes
    entropies: bytes


def wrong_numbers(node: HasTokens, vocab_size: int = ANY_ID) -> str:
    """What is wrong with the numbers of a node that has tokens, for the middle of a sentence; "" if nothing is."""
    highest = max(array("I", node.token_ids))  # a negative id is above all others
    if highest >= vocab_size:
        return f"with the id {highest if highest < ANY_ID else highest - 2 * ANY_ID}, the model has {vocab_size}"
    logprobs = array("f", node.logprobs)
    # A sum has every nan and infinity in it; comparing would miss nan.
    if not isfinite(sum(logprobs)) or max(logprobs) > ROUNDING:
        return "with a logprob that is no finite number up to 0"
    entropies = array("f", node.entropies)
    if entropies and (not isfinite(sum(entropies)) or min(entropies) < -ROUNDING):
        return "with an entropy that is no finite number from 0 on"
    return ""
