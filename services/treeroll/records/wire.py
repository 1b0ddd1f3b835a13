"""Protobuf's wire format, written by hand where messages are too slow: the one room that knows its bytes.

Every segment of every replica passes through the coordinator's one thread, where building and serialising a pb.Node
takes three times as long as `encode_node`. The result parses as the same message: a test compares them field by field.
https://protobuf.dev/programming-guides/encoding/
"""

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api

_VARINT, _EIGHT_BYTES, _LENGTH_FOLLOWS = 0, 1, 2
_WRITTEN_AS = {
    FieldDescriptor.TYPE_DOUBLE: _EIGHT_BYTES,
    FieldDescriptor.TYPE_MESSAGE: _LENGTH_FOLLOWS,
    FieldDescriptor.TYPE_STRING: _LENGTH_FOLLOWS,
    FieldDescriptor.TYPE_BYTES: _LENGTH_FOLLOWS,
}


def encode_varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; the high bit says that more follow. `value` >= 0."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


class _Table(dict[int, bytes]):
    """Small values are looked up; others are encoded again each time, so that the table does not grow."""

    def __missing__(self, value: int) -> bytes:
        return encode_varint(value)


varint = _Table({value: encode_varint(value) for value in range(1 << 14)}).__getitem__
"""The same as encode_varint, from a table where it can be."""


def tag(message: type[Message], name: str) -> bytes:
    """What stands before a field: its number and how its value is written. Its length, or a number, follows."""
    field = message.DESCRIPTOR.fields_by_name[name]
    return encode_varint(field.number << 3 | _WRITTEN_AS.get(field.type, _VARINT))


# Repeated fields may lie apart, and a message that comes in parts is the concatenation of its parts: that is what lets
# records be joined unread.
TREE_NODES = tag(pb.Tree, "nodes")
NODE_REWARDS = tag(pb.Node, "rewards")
REPLY_DELIVERIES = tag(api.LeaseTreesReply, "deliveries")
DELIVERY_TREE = tag(api.Delivery, "tree")

_NUMBER, _PARENT, _DEPTH = tag(pb.Node, "number"), tag(pb.Node, "parent"), tag(pb.Node, "depth")
_SIBLING, _START, _TEXT = tag(pb.Node, "sibling_index"), tag(pb.Node, "token_start"), tag(pb.Node, "text")


def encode_node(
    number: int, parent: int, depth: int, sibling_index: int, token_start: int, text: str, *parts: bytes
) -> bytes:
    """These fields of a pb.Node, serialised. `parts`: its other fields, as serialised pb.Nodes.

    The last value of a field holds, so `parts` come first: they cannot change the fields that are named here.
    """
    raw = text.encode()
    return b"".join((
        *parts, _NUMBER, varint(number), _PARENT, varint(parent), _DEPTH, varint(depth),
        _SIBLING, varint(sibling_index), _START, varint(token_start), _TEXT, varint(len(raw)), raw,
    ))  # fmt: skip
