"""The hot part of a node's record, encoded by hand in protobuf's wire format.

Every segment of every replica passes through the coordinator's one thread, where building and serialising a pb.Node
takes three times as long as this. The result parses as the same message: a test compares them field by field.
https://protobuf.dev/programming-guides/encoding/
"""

from treeroll.pb.v1 import common_pb2 as pb
from treeroll.varint import encode_varint, varint

_FIELDS = pb.Node.DESCRIPTOR.fields_by_name
_VARINT, _BYTES = 0, 2


def _tag(field: str, wire_type: int) -> bytes:
    return encode_varint(_FIELDS[field].number << 3 | wire_type)


_NUMBER, _PARENT, _DEPTH = _tag("number", _VARINT), _tag("parent", _VARINT), _tag("depth", _VARINT)
_SIBLING, _START, _TEXT = _tag("sibling_index", _VARINT), _tag("token_start", _VARINT), _tag("text", _BYTES)


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
