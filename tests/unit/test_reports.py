"""Reports of replicas that this project did not write: what cannot be is refused before the core sees it."""

import math

import pytest

from treeroll.coordinator.reports import END_KINDS, segments_of
from treeroll.core.model.events import EndKind
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire

HELLO = wire.Hello(replica_id="r0", incarnation=1)


def report(logprob_sum: float) -> wire.Report:
    node = pb.Node(token_ids=bytes(8), logprobs=bytes(8)).SerializeToString()
    return wire.Report(seq=3, segments=[wire.Segment(grant=1, tokens=2, node=node, logprob_sum=logprob_sum)])


def test_a_report_becomes_events() -> None:
    [event] = segments_of(HELLO, report(-1.5))
    assert (event.grant, event.n_tokens, event.logprob_sum) == (1, 2, -1.5)


@pytest.mark.parametrize("logprob_sum", [math.nan, math.inf, -math.inf])
def test_a_segment_whose_logprobs_cannot_be_is_refused(logprob_sum: float) -> None:
    with pytest.raises(InvalidInput, match=r"^report 3 of replica r0 has a segment whose logprobs sum to"):
        segments_of(HELLO, report(logprob_sum))


def test_every_way_a_replica_says_a_branch_ended_is_known_to_the_core() -> None:
    assert set(END_KINDS) == set(wire.EndReason.values()) - {wire.END_REASON_UNSPECIFIED}
    assert sorted(END_KINDS.values()) == sorted(EndKind)
