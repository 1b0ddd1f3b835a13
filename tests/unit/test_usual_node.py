"""Nodes that are told by their bytes are those that reading them would have accepted, with the same numbers."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.coordinator.reports import segments_of
from treeroll.coordinator.usual_node import usual_numbers
from treeroll.errors import BadReport
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire

TOKENS = 3


def usual(**more: object) -> wire.SegmentNode:
    numbers = {"token_ids": array("i", [5, 6, 7]).tobytes(), "logprobs": array("f", [-1.0, -0.5, 0.0]).tobytes()}
    spans = [pb.WeightSpan(version=300, tokens=TOKENS)]
    return wire.SegmentNode(**{**numbers, "weight_versions": spans, "started_at": 1.5, "finished_at": 2.5, **more})


def test_what_our_replicas_write_is_told_by_its_bytes() -> None:
    for version in (0, 1, 127, 128, 300, 2**14, 2**21, 2**28 - 1):
        node = usual(weight_versions=[pb.WeightSpan(version=version, tokens=TOKENS)])
        assert usual_numbers(node.SerializeToString(), TOKENS) == (node.token_ids, node.logprobs)


def test_other_layouts_are_not() -> None:
    two = [pb.WeightSpan(tokens=1), pb.WeightSpan(version=3, tokens=2)]
    spans: list[list[pb.WeightSpan]] = [
        [], two, [pb.WeightSpan(tokens=2)], [pb.WeightSpan(version=2**28, tokens=TOKENS)]
    ]  # fmt: skip
    others = [
        usual(entropies=bytes(12)), usual(parent_chars=1), usual(kv_mixed=True), usual(started_at=0.0),
        usual(logprobs=bytes(8)), *(usual(weight_versions=said) for said in spans),
    ]  # fmt: skip
    for node in others:
        assert usual_numbers(node.SerializeToString(), TOKENS) is None
    ours = [pb.Node(group=3), pb.Node(stop_reason="eos"), pb.Node(rewards=[pb.Reward(scorer="math", value=1.0)])]
    payload = usual().SerializeToString()
    for extra in (node.SerializeToString() for node in ours):
        for at in range(len(payload) + 1):
            assert usual_numbers(payload[:at] + extra + payload[at:], TOKENS) is None


@given(st.data())
def test_whatever_is_told_by_its_bytes_reading_accepts_with_the_same_numbers(data: st.DataObject) -> None:
    payload = bytearray(usual().SerializeToString())
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(payload)))
        payload[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    numbers = usual_numbers(bytes(payload), TOKENS)
    if numbers is not None:
        node = wire.SegmentNode.FromString(bytes(payload))
        assert numbers == (node.token_ids, node.logprobs)
        assert {field.name for field, _ in node.ListFields()} <= {field.name for field, _ in usual().ListFields()}
        assert sum(span.tokens for span in node.weight_versions) == TOKENS
        node.DiscardUnknownFields()
        assert node.ByteSize() == len(payload)


@given(st.binary(max_size=40))
def test_no_bytes_are_more_than_a_bad_report(noise: bytes) -> None:
    bad = wire.Segment(grant=7, tokens=TOKENS, node=noise, logprob_sum=-1.5)
    with pytest.raises(BadReport) as caught:  # so few hold no three tokens with their times and weights
        segments_of(wire.Hello(replica_id="r0"), wire.Report(seq=1, segments=[bad]), 100)
    assert caught.value.grant == 7
