"""Reports of replicas as events for the core."""

from array import array
from math import isfinite

from google.protobuf.message import DecodeError

from treeroll.core.model.events import EndKind, SegmentReported
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.tree.node import Tokens

END_KINDS = {
    wire.END_REASON_EOS: EndKind.EOS,
    wire.END_REASON_STOP: EndKind.STOP,
    wire.END_REASON_LENGTH: EndKind.LENGTH,
    wire.END_REASON_STOPPED: EndKind.STOPPED,
    wire.END_REASON_CREDIT: EndKind.CREDIT,
    wire.END_REASON_HOLD: EndKind.HOLD,
    wire.END_REASON_ERROR: EndKind.ERROR,
}
# Of one token in a segment's `node`: its id and its logprob.
TOKEN_BYTES = 8


def segments_of(hello: wire.Hello, report: wire.Report) -> list[SegmentReported]:
    """A report as events, in one pass: every segment of every replica comes through here.

    Tokens stay the bytes that the replica made. InvalidInput for a report that does not fit together.
    """
    replica_id, incarnation = hello.replica_id, hello.incarnation
    events = []
    for segment in report.segments:
        tokens, node = segment.tokens, segment.node
        if len(node) < tokens * TOKEN_BYTES:
            raise InvalidInput(
                f"report {report.seq} of replica {replica_id} has a segment of {tokens} tokens in {len(node)} bytes"
            )
        if not isfinite(segment.logprob_sum):
            raise InvalidInput(
                f"report {report.seq} of replica {replica_id} has a segment whose logprobs sum to {segment.logprob_sum}"
            )
        event = SegmentReported(
            replica_id,
            incarnation,
            segment.grant,
            tokens,
            segment.logprob_sum,
            segment.logprob_min,
            segment.text,
            segment.tail,
            node,
        )
        if segment.HasField("cached_tokens"):
            event.cached_tokens = segment.cached_tokens
        if segment.HasField("end"):
            _add_end(hello, event, segment.end)
        events.append(event)
    return events


def read_tokens(payload: bytes) -> Tokens:
    """What a segment's `node` says of its tokens. InvalidInput if it is no Node, or has another number of each."""
    try:
        node = pb.Node.FromString(payload)
    except DecodeError as error:
        raise InvalidInput(f"a segment's node cannot be read: {error}") from None
    return Tokens(array("i", node.token_ids), array("f", node.logprobs), array("f", node.entropies))


def _add_end(hello: wire.Hello, event: SegmentReported, end: wire.BranchEnd) -> None:
    kind = END_KINDS.get(end.reason)
    if kind is None:
        raise InvalidInput(
            f"a report of replica {hello.replica_id} ends grant {event.grant} for unknown reason {end.reason}"
        )
    event.end, event.dropped_tokens, event.error = kind, end.dropped_tokens, end.error
