"""Values of records out of messages, as the table of fields says."""

import json
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

import numpy as np
from google.protobuf.message import Message

from treeroll.pb.v1 import common_pb2 as pb
from treeroll.records.column import Column, DType
from treeroll.records.fields import Float32, Int32, Reward, WeightSpan
from treeroll.records.why import why_of

_INT32, _FLOAT32 = np.dtype("<i4"), np.dtype("<f4")
_MESSAGES: Mapping[str, type[Message]] = {"Node": pb.Node, "Tree": pb.Tree, "LeafCredit": pb.LeafCredit}

Read = Callable[[Any, Any], Any]
"""A column's value from the message that holds it and from the tree that this belongs to."""


def int32s(raw: bytes) -> Int32:
    """Little-endian bytes as a read-only int32 array, without a copy."""
    return np.frombuffer(raw, _INT32)


def float32s(raw: bytes) -> Float32:
    """Little-endian bytes as a read-only float32 array, without a copy."""
    return np.frombuffer(raw, _FLOAT32)


def spans(messages: Iterable[pb.WeightSpan]) -> list[WeightSpan]:
    """Weight versions of consecutive tokens."""
    return [WeightSpan(span.version, span.tokens) for span in messages]


def rewards(messages: Iterable[pb.Reward]) -> list[Reward]:
    """A node's rewards in force."""
    return [Reward(r.scorer, r.version, r.value if r.HasField("value") else None, r.error) for r in messages]


def newest(given: Iterable[Reward]) -> dict[str, float | None]:
    """Scorer name -> value of its newest version."""
    return {reward.scorer: reward.value for reward in sorted(given, key=lambda r: r.version)}


_DECODE: Mapping[DType, Callable[[Any], Any]] = {
    DType.INT32S: int32s,
    DType.FLOAT32S: float32s,
    DType.SPANS: spans,
    DType.REWARDS: rewards,
    DType.SCORES: lambda messages: newest(rewards(messages)),
    DType.WHY: why_of,
    DType.JSON: lambda text: json.loads(text) if text else {},
}


def is_plain(column: Column) -> bool:
    """Whether the value is what the message's field says, whatever it says."""
    return column.dtype not in _DECODE and not _has_presence(column)


def reader(column: Column) -> Read:
    """How to read a column that a message holds.

    What its sender may leave out is None then, or the tree's field of the same name where a column is never None.
    """
    name = column.proto_field
    get: Callable[[Any], Any] = attrgetter(name)
    decode = _DECODE.get(column.dtype)
    if _has_presence(column):
        if column.nullable and decode is not None:
            read = decode
            return lambda message, _: read(get(message)) if message.HasField(name) else None
        if column.nullable:
            return lambda message, _: get(message) if message.HasField(name) else None
        return lambda message, tree: get(message if message.HasField(name) else tree)
    if decode is not None:
        return lambda message, _: decode(get(message))
    return lambda message, _: get(message)


def _has_presence(column: Column) -> bool:
    return bool(_MESSAGES[column.message].DESCRIPTOR.fields_by_name[column.proto_field].has_presence)
