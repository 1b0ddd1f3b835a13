"""Whether a segment's tokens, one by one, are such as an engine can have sampled."""

from array import array
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from typing import Protocol

# A logprob may be so far above 0, and an entropy below, by rounding.
ROUNDING = 1e-3
# Ids are int32: all are below this.
ANY_ID = 2**31


# The highest byte of a float32 from minus 1.7e38 to 0.002: nan and infinity have others.
_LOGPROB_TOPS = bytes([*range(0x3B), *range(0x80, 0xFF)])


def are_possible(ids: Sequence[bytes], logprobs: Sequence[bytes], vocab_size: int) -> bool:
    """Whether all ids of some nodes are below about `vocab_size`, and all logprobs are finite and at most about 0.

    By single bytes, for every segment: `wrong_numbers` is exact and takes ten times as long. Ids are exact to the
    highest byte that `vocab_size` needs.
    """
    if b"".join(logprobs)[3::4].translate(None, _LOGPROB_TOPS):
        return False
    joined = b"".join(ids)
    return not any(joined[place::4].translate(None, allowed) for place, allowed in _id_bytes(vocab_size))


@lru_cache(maxsize=16)
def _id_bytes(vocab_size: int) -> list[tuple[int, bytes]]:
    """Places of bytes in an id, and what may stand there: nothing but 0 above the highest that is needed."""
    highest = (vocab_size - 1).to_bytes(4, "little")
    top = max((place for place in range(4) if highest[place]), default=0)
    return [*((place, b"\0") for place in range(3, top, -1)), (top, bytes(range(highest[top] + 1)))]


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
