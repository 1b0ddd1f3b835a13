"""Reports of replicas that this project did not write: what cannot be is refused before the core sees it."""

import math
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.coordinator.reports import END_KINDS, segments_of
from treeroll.core.model.events import EndKind
from treeroll.errors import BadReport
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.records import wire as written
from treeroll.records.numbers import ROUNDING, are_minima, are_sums, wrong_numbers

HELLO = wire.Hello(replica_id="r0", incarnation=1)
VOCAB = 100


def node(ids: list[int] | None = None, logprobs: list[float] | None = None, **more: object) -> wire.SegmentNode:
    ids = [5, 6] if ids is None else ids
    logprobs = [-0.5, -1.0] if logprobs is None else logprobs
    more = {"weight_versions": [pb.WeightSpan(tokens=len(ids))], **more}
    return wire.SegmentNode(token_ids=array("i", ids).tobytes(), logprobs=array("f", logprobs).tobytes(), **more)


def segment(made: wire.SegmentNode | bytes | None = None, **more: object) -> wire.Segment:
    payload = made if isinstance(made, bytes) else (made or node()).SerializeToString()
    return wire.Segment(
        **{"grant": 7, "tokens": 2, "node": payload, "logprob_sum": -1.5, "logprob_min": -1.0, "text": "ab", **more}
    )


def read(*segments: wire.Segment) -> list[object]:
    return [*segments_of(HELLO, wire.Report(seq=3, segments=segments), VOCAB)]


def test_a_report_becomes_events() -> None:
    first = segment(node(parent_chars=3, entropies=array("f", [1.0, 0.0]).tobytes()), cached_tokens=4)
    end = wire.BranchEnd(reason=wire.END_REASON_ERROR, error="no\nkernel", dropped_tokens=3)
    one, other = segments_of(HELLO, wire.Report(seq=3, segments=[first, wire.Segment(grant=8, end=end)]), VOCAB)
    assert (one.grant, one.n_tokens, one.logprob_sum, one.cached_tokens, one.cuts) == (7, 2, -1.5, 4, True)
    assert (other.grant, other.n_tokens, other.end, other.dropped_tokens, other.error) == (
        8,
        0,
        "error",
        3,
        "no kernel",
    )


def ours(**fields: object) -> bytes:
    return node().SerializeToString() + pb.Node(**fields).SerializeToString()


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (segment(b"\xff"), "whose node cannot be read"),
        (segment(b""), "of 2 tokens with 0 ids and 0 logprobs"),
        (segment(node([5, 6, 7], [-1.0, -1.0])), "of 2 tokens with 3 ids and 2 logprobs"),
        (segment(node(entropies=bytes(4))), "of 2 tokens with 1 entropies"),
        (segment(node(weight_versions=[])), "with weight versions for another number"),
        (segment(node(weight_versions=[pb.WeightSpan(tokens=1), pb.WeightSpan(tokens=2)])), "for another number"),
        (segment(ours(rewards=[pb.Reward(scorer="math", version=2, value=1.0)])), "more in it than a replica may say"),
        (segment(ours(group=3)), "more in it than a replica may say"),
        (segment(ours(stop_reason="eos")), "more in it than a replica may say"),
        (segment(ours(observation_tokens=1)), "more in it than a replica may say"),
        (segment(ours(inserted_tokens=1)), "more in it than a replica may say"),
        (segment(ours(token_ids=array("i", [5, 6]).tobytes())), "more in it than a replica may say"),
        (segment(tokens=0), "of no tokens that is not the end of a branch alone"),
        (wire.Segment(grant=7), "of no tokens that is not the end of a branch alone"),
        (segment(text="x" * 1153), "of 2 tokens with 1153 bytes of text"),
        (segment(text="\N{GRINNING FACE}" * 300), "of 2 tokens with 1200 bytes of text"),
        (segment(tail="x" * 257), "with 257 characters of earlier text"),
        (segment(end=wire.BranchEnd(reason=99)), "ends its branch for unknown reason 99"),  # type: ignore[arg-type]
        (segment(logprob_sum=math.nan), "whose logprobs sum to -1.5, not to nan"),
        (segment(logprob_sum=-math.inf), "whose logprobs sum to -1.5, not to -inf"),
        (segment(node([5, VOCAB])), "with the id 100, the model has 100"),
        (segment(node([5, -1])), "with the id -1, the model has 100"),
        (segment(node(logprobs=[math.nan, -1.0])), "with a logprob that is no finite number up to 0"),
        (segment(node(logprobs=[-math.inf, -1.0])), "with a logprob that is no finite number up to 0"),
        (segment(node(logprobs=[0.5, -2.0])), "with a logprob that is no finite number up to 0"),
        (segment(node(entropies=array("f", [math.nan, 0.0]).tobytes())), "with an entropy that is no finite number"),
        (segment(logprob_sum=-2.5), "whose logprobs sum to -1.5, not to -2.5"),
        (segment(logprob_min=math.nan), "whose lowest logprob is -1.0, not nan"),
        (segment(logprob_min=-0.5), "whose lowest logprob is -1.0, not -0.5"),
    ],
)  # fmt: skip
def test_a_segment_that_cannot_be_is_refused_and_names_its_grant(bad: wire.Segment, complaint: str) -> None:
    with pytest.raises(BadReport, match=complaint) as caught:
        read(bad, segment())
    assert str(caught.value).startswith("report 3 of replica r0 has a segment ")
    assert caught.value.grant == 7


def test_a_long_token_and_text_that_was_held_back_are_no_fault() -> None:
    read(segment(text="x" * 1152), segment(text="\N{GRINNING FACE}" * 288))


def usual(numbers: wire.SegmentNode) -> wire.SegmentNode:
    """The same as our own replicas write it, which is told by its bytes."""
    return wire.SegmentNode.FromString(
        numbers.SerializeToString() + wire.SegmentNode(started_at=1.5, finished_at=2.5).SerializeToString()
    )


@pytest.mark.parametrize(
    "bad",
    [
        segment(node([5, VOCAB])), segment(node([5, -1])), segment(node(logprobs=[math.nan, -1.0])),
        segment(node(logprobs=[-1.0, 0.5])), segment(logprob_sum=-1.6), segment(logprob_min=-0.9),
        segment(node(entropies=array("f", [math.inf, 0.0]).tobytes())),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_are_found_in_every_segment(bad: wire.Segment) -> None:
    end = wire.Segment(grant=6, end=wire.BranchEnd(reason=wire.END_REASON_STOPPED))
    good = [segment(usual(node([99], [-1.5])), tokens=1, logprob_min=-1.5), end, segment()]
    read(*good)
    bad.grant = 8
    for made in (bad.node, usual(wire.SegmentNode.FromString(bad.node)).SerializeToString()):
        bad.node = made
        for at in range(len(good) + 1):
            with pytest.raises(BadReport, match="of 2 tokens w") as caught:
                read(*good[:at], bad, *good[at:])
            assert caught.value.grant == 8


@given(st.integers(1, 2**31), st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=9))
def test_ids_are_from_0_on_and_below_the_size_of_the_vocabulary(vocab: int, ids: list[int]) -> None:
    wrong = wrong_numbers(array("i", ids).tobytes(), bytes(4 * len(ids)), b"", vocab)
    assert (wrong == "") == (min(ids) >= 0 and max(ids) < vocab)


@given(st.lists(st.floats(width=32), min_size=1, max_size=5))
def test_logprobs_and_entropies_are_finite_and_of_their_sign(values: list[float]) -> None:
    ids, packed = bytes(4 * len(values)), array("f", values).tobytes()
    limit = array("f", [ROUNDING])[0]  # in float32, as the numbers are
    assert (wrong_numbers(ids, packed, b"") == "") == all(-math.inf < value <= limit for value in values)
    assert (wrong_numbers(ids, ids, packed) == "") == all(-limit <= value < math.inf for value in values)


@given(st.lists(st.lists(st.floats(-30, 0, width=32), min_size=1, max_size=9), min_size=1, max_size=5), st.data())
def test_each_sum_and_each_minimum_is_that_of_its_own_segment(parts: list[list[float]], data: st.DataObject) -> None:
    packed = b"".join(array("f", part).tobytes() for part in parts)
    sizes, said = [*map(len, parts)], [*map(math.fsum, parts)]
    assert are_sums(packed, sizes, said)
    at = data.draw(st.integers(0, len(parts) - 1))
    for wrong in (said[at] - 0.5, said[at] + 0.5, math.nan, math.inf, -math.inf):
        assert not are_sums(packed, sizes, [*said[:at], wrong, *said[at + 1 :]])
    lowest = [*map(min, parts)]
    assert are_minima(packed, sizes, lowest)
    for wrong in (lowest[at] - 0.5, lowest[at] + 0.5, math.nan, math.inf, -math.inf):
        assert not are_minima(packed, sizes, [*lowest[:at], wrong, *lowest[at + 1 :]])


def test_what_a_replica_may_say_means_the_same_in_a_stored_node() -> None:
    said = {field.name: field for field in wire.SegmentNode.DESCRIPTOR.fields}
    for name, field in said.items():
        stored = pb.Node.DESCRIPTOR.fields_by_name[name]
        assert (field.number, field.type, field.is_repeated) == (stored.number, stored.type, stored.is_repeated)
    made = node(parent_chars=3, started_at=1.5, kv_mixed=True)
    record = pb.Node.FromString(written.encode_node(3, 1, 2, 0, 40, "ab", made.SerializeToString()))
    assert all(getattr(record, name) == getattr(made, name) for name in said)


def mutated(change: Callable[[bytes], bytes]) -> wire.Segment:
    return segment(change(node().SerializeToString()))


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, 40))
def test_no_bytes_do_more_than_be_refused(noise: bytes, tokens: int, at: int, cut: int) -> None:
    for bad in (
        wire.Segment(tokens=tokens, node=noise),
        mutated(lambda made: made[:at] + noise + made[at:]),
        mutated(lambda made: made[:at] + made[at + cut :]),
    ):
        try:
            [event] = segments_of(HELLO, wire.Report(seq=1, segments=[bad]), VOCAB)
        except BadReport:
            continue
        taken = pb.Node.FromString(event.payload)
        assert len(taken.token_ids) == len(taken.logprobs) == 4 * event.n_tokens
        assert (taken.group, taken.stop_reason, list(taken.rewards), taken.text) == (0, "", [], "")


def test_every_way_a_replica_says_a_branch_ended_is_known_to_the_core() -> None:
    assert set(END_KINDS) == set(wire.EndReason.values()) - {wire.END_REASON_UNSPECIFIED}
    assert sorted(END_KINDS.values()) == sorted(EndKind)
