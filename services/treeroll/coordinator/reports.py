"""Reports of replicas as events for the core. What cannot be is refused here, before the core sees any of it."""

from array import array
from math import isfinite

from google.protobuf.message import DecodeError

from treeroll.core.model.events import EndKind, SegmentReported
from treeroll.errors import BadReport, InvalidInput
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.records.numbers import ROUNDING, are_possible, wrong_numbers
from treeroll.tree.node import Tokens
from treeroll.tree.tree import TAIL_CHARS

END_KINDS = {
    wire.END_REASON_EOS: EndKind.EOS,
    wire.END_REASON_STOP: EndKind.STOP,
    wire.END_REASON_LENGTH: EndKind.LENGTH,
    wire.END_REASON_STOPPED: EndKind.STOPPED,
    wire.END_REASON_CREDIT: EndKind.CREDIT,
    wire.END_REASON_HOLD: EndKind.HOLD,
    wire.END_REASON_ERROR: EndKind.ERROR,
}
# Of a token id, a logprob or an entropy.
BYTES = 4
# Bytes of text: for each token, and for any segment, because a single token may be long and text may be held back.
TEXT_BYTES, MORE_TEXT_BYTES = 64, 1024
# Of so many segments one is read to its last digit, which takes longer than all else together. An audit reads all so.
LOOK_EVERY = 16
MAX_ERROR_CHARS = 1000
NO_NODE = wire.SegmentNode()


def segments_of(hello: wire.Hello, report: wire.Report, vocab_size: int) -> list[SegmentReported]:
    """A report as events, in one pass: every segment of every replica comes through here.

    Tokens stay the bytes that the replica made. BadReport for one that cannot be; its ids must be below `vocab_size`.
    """
    replica_id, incarnation = hello.replica_id, hello.incarnation
    events, look = [], report.seq % LOOK_EVERY
    for segment in report.segments:
        tokens, payload, text, tail = segment.tokens, segment.node, segment.text, segment.tail
        if not isfinite(segment.logprob_sum):
            raise _bad(hello, report, segment, f"whose logprobs sum to {segment.logprob_sum}")
        node = _node_of(hello, report, segment, payload, vocab_size) if tokens else NO_NODE
        if not tokens and (payload or text or not segment.HasField("end")):
            raise _bad(hello, report, segment, "of no tokens that is not the end of a branch alone")
        most = TEXT_BYTES * tokens + MORE_TEXT_BYTES
        if BYTES * len(text) > most and len(text.encode()) > most:
            raise _bad(hello, report, segment, f"of {tokens} tokens with {len(text.encode())} bytes of text")
        if len(tail) > TAIL_CHARS:
            raise _bad(hello, report, segment, f"with {len(tail)} characters of earlier text, {TAIL_CHARS} are read")
        look += 1
        if look >= LOOK_EVERY:
            look = 0
            if tokens and (why := wrong_numbers(node, vocab_size) or _wrong_sum(node, segment.logprob_sum)):
                raise _bad(hello, report, segment, f"of {tokens} tokens {why}")
        event = SegmentReported(
            replica_id,
            incarnation,
            segment.grant,
            tokens,
            segment.logprob_sum,
            segment.logprob_min,
            text,
            tail,
            payload,
        )
        if node.HasField("parent_chars"):
            event.cuts = True
        if segment.HasField("cached_tokens"):
            event.cached_tokens = segment.cached_tokens
        if segment.HasField("end"):
            _add_end(hello, report, event, segment)
        events.append(event)
    return events


def _node_of(
    hello: wire.Hello, report: wire.Report, segment: wire.Segment, payload: bytes, vocab_size: int
) -> wire.SegmentNode:
    """The segment's node, with nothing in it but what its replica may say, and as much as the segment has tokens."""
    tokens = segment.tokens
    try:
        node = wire.SegmentNode.FromString(payload)
    except DecodeError as error:
        raise _bad(hello, report, segment, f"whose node cannot be read: {error}") from None
    ids, logprobs = node.token_ids, node.logprobs
    if not (len(ids) == len(logprobs) == BYTES * tokens):
        counts = f"{len(ids) / BYTES:g} ids and {len(logprobs) / BYTES:g} logprobs"
        raise _bad(hello, report, segment, f"of {tokens} tokens with {counts}")
    if not are_possible(ids, logprobs, vocab_size):
        why = wrong_numbers(node, vocab_size) or "with a logprob that cannot be"
        raise _bad(hello, report, segment, f"of {tokens} tokens {why}")
    if len(node.entropies) not in (0, BYTES * tokens):
        raise _bad(hello, report, segment, f"of {tokens} tokens with {len(node.entropies) / BYTES:g} entropies")
    spans = node.weight_versions
    if (spans[0].tokens if len(spans) == 1 else sum(span.tokens for span in spans)) != tokens:
        raise _bad(hello, report, segment, f"of {tokens} tokens with weight versions for another number")
    # Fields that are not the replica's are unknown to this message; one that comes twice is shorter once it is read.
    node.DiscardUnknownFields()
    if node.ByteSize() != len(payload):
        raise _bad(hello, report, segment, "whose node has more in it than a replica may say")
    return node


def _wrong_sum(node: wire.SegmentNode, said: float) -> str:
    found = sum(array("f", node.logprobs))
    return f"whose logprobs sum to {found}, not to {said}" if abs(found - said) > ROUNDING * (1 + abs(said)) else ""


def read_tokens(payload: bytes) -> Tokens:
    """What a segment's `node` says of its tokens. InvalidInput if it is no Node."""
    try:
        node = pb.Node.FromString(payload)
    except DecodeError as error:
        raise InvalidInput(f"a segment's node cannot be read: {error}") from None
    return Tokens(array("i", node.token_ids), array("f", node.logprobs), array("f", node.entropies))


def _add_end(hello: wire.Hello, report: wire.Report, event: SegmentReported, segment: wire.Segment) -> None:
    end = segment.end
    kind = END_KINDS.get(end.reason)
    if kind is None:
        raise _bad(hello, report, segment, f"that ends its branch for unknown reason {end.reason}")
    event.end, event.dropped_tokens = kind, end.dropped_tokens
    event.error = " ".join(end.error.split())[:MAX_ERROR_CHARS] if end.error else ""


def _bad(hello: wire.Hello, report: wire.Report, segment: wire.Segment, what: str) -> BadReport:
    return BadReport(f"report {report.seq} of replica {hello.replica_id} has a segment {what}", segment.grant)
