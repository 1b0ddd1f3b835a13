"""Nodes as our own replicas write them, told by their bytes: most of what comes, at a third of the time of reading it.

A node of this layout has its ids, its logprobs, one or more spans of weight versions and two times, in the order of
their numbers, and nothing else. Any other is read as a message.
"""

from functools import lru_cache
from typing import NamedTuple

from google.protobuf.message import DecodeError

from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.records.wire import encode_varint, tag

BYTES = 4  # of an id or a logprob
_IDS, _LOGPROBS = tag(wire.SegmentNode, "token_ids"), tag(wire.SegmentNode, "logprobs")
_STARTED, _FINISHED = tag(wire.SegmentNode, "started_at"), tag(wire.SegmentNode, "finished_at")
# From the end: where the times are, each a tag and eight bytes.
_STARTED_AT, _FINISHED_AT = -(len(_STARTED) + 8 + len(_FINISHED) + 8), -(len(_FINISHED) + 8)


class _Layout(NamedTuple):
    """What stands where in the nodes of so many tokens."""

    before_ids: bytes
    ids: slice
    between: slice
    before_logprobs: bytes
    logprobs: slice


@lru_cache(maxsize=4096)
def _layout(tokens: int) -> _Layout:
    size = encode_varint(BYTES * tokens)
    before_ids, before_logprobs = _IDS + size, _LOGPROBS + size
    ids = slice(len(before_ids), len(before_ids) + BYTES * tokens)
    between = slice(ids.stop, ids.stop + len(before_logprobs))
    logprobs = slice(between.stop, between.stop + BYTES * tokens)
    return _Layout(before_ids, ids, between, before_logprobs, logprobs)


@lru_cache(maxsize=4096)
def _are_spans(tokens: int, encoded: bytes) -> bool:
    """Whether this is nothing but spans of weight versions that cover so many tokens."""
    try:
        node = wire.SegmentNode.FromString(encoded)
    except DecodeError:
        return False
    spans = wire.SegmentNode(weight_versions=node.weight_versions)
    return spans.SerializeToString() == encoded and sum(span.tokens for span in spans.weight_versions) == tokens


def usual_numbers(payload: bytes, tokens: int) -> tuple[bytes, bytes] | None:
    """Ids and logprobs of a node of so many tokens; None if it is of another layout, or of another number."""
    before_ids, ids, between, before_logprobs, logprobs = _layout(tokens)
    if payload[between] != before_logprobs or not payload.startswith(before_ids):
        return None
    times = payload[_STARTED_AT:]
    if not (times.startswith(_STARTED) and times.startswith(_FINISHED, len(times) + _FINISHED_AT)):
        return None
    if not _are_spans(tokens, payload[logprobs.stop : _STARTED_AT]):
        return None
    return payload[ids], payload[logprobs]
