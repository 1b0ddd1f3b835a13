"""Reports of replicas as events for the core. What cannot be is refused here, before the core sees any of it."""

from array import array

from google.protobuf.message import DecodeError

from treeroll.coordinator.usual_node import BYTES, usual_numbers
from treeroll.core.model.events import EndKind, SegmentReported
from treeroll.errors import BadReport, InvalidInput
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.records.numbers import are_minima, are_sums, wrong_numbers
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
# Bytes of text: for each token, and for any segment, because a single token may be long and text may be held back.
TEXT_BYTES, MORE_TEXT_BYTES = 64, 1024
MAX_ERROR_CHARS = 1000


def segments_of(hello: wire.Hello, report: wire.Report, vocab_size: int) -> list[SegmentReported]:
    """A report as events, in one pass: every segment of every replica comes through here.

    Tokens stay the bytes that the replica made. BadReport for one that cannot be; its ids must be below `vocab_size`.
    """
    replica_id, incarnation = hello.replica_id, hello.incarnation
    events, numbers, entropies = [], [], []
    for segment in report.segments:
        tokens, payload, text, tail = segment.tokens, segment.node, segment.text, segment.tail
        most = TEXT_BYTES * tokens + MORE_TEXT_BYTES
        if BYTES * len(text) > most and len(text.encode()) > most:
            raise _bad(hello, report, segment, f"of {tokens} tokens with {len(text.encode())} bytes of text")
        if len(tail) > TAIL_CHARS:
            raise _bad(hello, report, segment, f"with {len(tail)} characters of earlier text, {TAIL_CHARS} are read")
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
        if tokens:
            found = usual_numbers(payload, tokens)
            if found is None:
                node = _node_of(hello, report, segment)
                found, event.cuts = (node.token_ids, node.logprobs), node.HasField("parent_chars")
                entropies.append(node.entropies)
            numbers.append(found)
        elif payload or text or not segment.HasField("end"):
            raise _bad(hello, report, segment, "of no tokens that is not the end of a branch alone")
        if segment.HasField("cached_tokens"):
            event.cached_tokens = segment.cached_tokens
        if segment.HasField("end"):
            _add_end(hello, report, event, segment)
        events.append(event)
    if numbers and not _are_possible(events, numbers, b"".join(entropies), vocab_size):
        _blame(hello, report, vocab_size)
    return events


def _node_of(hello: wire.Hello, report: wire.Report, segment: wire.Segment) -> wire.SegmentNode:
    """The segment's node, with nothing in it but what its replica may say, and as much as the segment has tokens."""
    tokens, payload = segment.tokens, segment.node
    try:
        node = wire.SegmentNode.FromString(payload)
    except DecodeError as error:
        raise _bad(hello, report, segment, f"whose node cannot be read: {error}") from None
    ids, logprobs = len(node.token_ids) / BYTES, len(node.logprobs) / BYTES
    if not (ids == logprobs == tokens):
        raise _bad(hello, report, segment, f"of {tokens} tokens with {ids:g} ids and {logprobs:g} logprobs")
    if len(node.entropies) not in (0, BYTES * tokens):
        raise _bad(hello, report, segment, f"of {tokens} tokens with {len(node.entropies) / BYTES:g} entropies")
    if sum(span.tokens for span in node.weight_versions) != tokens:
        raise _bad(hello, report, segment, f"of {tokens} tokens with weight versions for another number")
    # Fields that are not the replica's are unknown to this message; one that comes twice is shorter once it is read.
    node.DiscardUnknownFields()
    if node.ByteSize() != len(payload):
        raise _bad(hello, report, segment, "whose node has more in it than a replica may say")
    return node


def _are_possible(
    events: list[SegmentReported], numbers: list[tuple[bytes, bytes]], entropies: bytes, vocab_size: int
) -> bool:
    """Whether the numbers of all segments can be, each of them: at once, for one by one takes longer than all else.

    `numbers`: ids and logprobs of those events that have tokens.
    """
    ids, logprobs = map(b"".join, zip(*numbers, strict=True))
    if wrong_numbers(ids, logprobs, entropies, vocab_size):
        return False
    sampled = [event for event in events if event.n_tokens]
    sizes = [event.n_tokens for event in sampled]
    summed = are_sums(logprobs, sizes, [event.logprob_sum for event in sampled])
    return summed and are_minima(logprobs, sizes, [event.logprob_min for event in sampled])


def _blame(hello: wire.Hello, report: wire.Report, vocab_size: int) -> None:
    """BadReport for the first segment whose numbers cannot be."""
    for segment in report.segments:
        tokens, said = segment.tokens, segment.logprob_sum
        if not tokens:
            continue
        node = wire.SegmentNode.FromString(segment.node)
        why = wrong_numbers(node.token_ids, node.logprobs, node.entropies, vocab_size)
        if not why and not are_sums(node.logprobs, [tokens], [said]):
            why = f"whose logprobs sum to {sum(array('f', node.logprobs))}, not to {said}"
        if not why and not are_minima(node.logprobs, [tokens], [segment.logprob_min]):
            why = f"whose lowest logprob is {min(array('f', node.logprobs))}, not {segment.logprob_min}"
        if why:
            raise _bad(hello, report, segment, f"of {tokens} tokens {why}")


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
