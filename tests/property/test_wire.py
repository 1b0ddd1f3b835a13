"""The hand-written encoding of a node is what protobuf would write."""

from hypothesis import given
from hypothesis import strategies as st

from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.records.wire import encode_node, encode_varint, varint

UINT32 = st.one_of(st.integers(0, 300), st.sampled_from([127, 128, 16_383, 16_384]), st.integers(0, 2**32 - 1))
NAMES = "number", "parent", "depth", "sibling_index", "token_start", "text"
NODES = st.fixed_dictionaries({
    "number": UINT32,
    "parent": UINT32,
    "depth": UINT32,
    "sibling_index": UINT32,
    "token_start": UINT32,
    "text": st.text(max_size=200),
})  # fmt: skip


@given(st.integers(0, 2**64 - 1))
def test_varints_are_protobufs(value: int) -> None:
    assert varint(value) == encode_varint(value)
    assert wire.StopBranch.FromString(b"\x08" + varint(value)).grant == value


@given(NODES)
def test_a_node_encoded_by_hand_parses_as_the_same_message(fields: dict[str, object]) -> None:
    assert pb.Node.FromString(encode_node(**fields)) == pb.Node(**fields)


@given(NODES, st.integers(0, 2**32 - 1), st.binary(max_size=300))
def test_other_fields_come_with_them(fields: dict[str, object], attempt: int, token_ids: bytes) -> None:
    parts = pb.Node(attempt=attempt, status="leaf"), pb.Node(token_ids=token_ids)
    own = [fields[name] for name in NAMES]
    record = encode_node(*own, *[part.SerializeToString() for part in parts])
    assert pb.Node.FromString(record) == pb.Node(**fields, attempt=attempt, status="leaf", token_ids=token_ids)


@given(NODES, NODES)
def test_other_parts_cannot_change_these_fields(fields: dict[str, object], others: dict[str, object]) -> None:
    own = [fields[name] for name in NAMES]
    record = encode_node(*own, pb.Node(**others).SerializeToString())
    assert pb.Node.FromString(record) == pb.Node(**fields)
