"""Nodes as our own replicas write them, told by their bytes: most of what comes, at a third of the time of reading it.

A node of this layout has its ids, its logprobs, one version of weights and two times, in the order of their numbers,
and nothing else. Any other is read as a message.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.records.wire import encode_varint, tag

BYTES = 4  # of an id or a logprob
# Bytes of a version of weights, which may be left out.
_MOST_VERSION_BYTES = 4


def usual_numbers(payload: bytes, tokens: int) -> tuple[bytes, bytes] | None:
    """Ids and logprobs of a node of so many tokens; None if it is of another layout, or of another number."""
    if len(payload) < 2 * BYTES * tokens or (found := _layout(tokens)(payload)) is None:
        return None
    return found[1], found[2]


@lru_cache(maxsize=4096)
def _layout(tokens: int) -> Callable[[bytes], re.Match[bytes] | None]:
    """What matches nodes of so many tokens, and nothing else; ids and logprobs are its groups."""
    size = BYTES * tokens
    numbers = [
        _field("token_ids", encode_varint(size)) + b"(.{%d})" % size,
        _field("logprobs", encode_varint(size)) + b"(.{%d})" % size,
    ]
    times = [_field("started_at") + b".{8}", _field("finished_at") + b".{8}"]
    spans = b"|".join(_span(tokens, version_bytes) for version_bytes in range(_MOST_VERSION_BYTES + 1))
    return re.compile(b"".join([*numbers, b"(?:", spans, b")", *times]), re.DOTALL).fullmatch


def _field(name: str, value: bytes = b"") -> bytes:
    return re.escape(tag(wire.SegmentNode, name) + value)


def _span(tokens: int, version_bytes: int) -> bytes:
    """What matches one span of weights with a version of so many bytes."""
    covered = tag(pb.WeightSpan, "tokens") + encode_varint(tokens)
    version = tag(pb.WeightSpan, "version") if version_bytes else b""
    size = encode_varint(len(version) + version_bytes + len(covered))
    number = b"[\x80-\xff]{%d}[\x01-\x7f]" % (version_bytes - 1) if version_bytes else b""
    return _field("weight_versions", size + version) + number + re.escape(covered)
