"""Reports of replicas as events for the core."""

from itertools import accumulate, pairwise

import numpy as np

from treeroll.core.events import EndKind, SegmentReported
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.records import NodeBody

END_KINDS = {
    wire.END_REASON_EOS: EndKind.EOS,
    wire.END_REASON_LENGTH: EndKind.LENGTH,
    wire.END_REASON_STOPPED: EndKind.STOPPED,
    wire.END_REASON_CREDIT: EndKind.CREDIT,
    wire.END_REASON_HOLD: EndKind.HOLD,
    wire.END_REASON_ERROR: EndKind.ERROR,
}


def segments_of(hello: wire.Hello, report: wire.Report) -> list[SegmentReported]:
    """Cut a columnar report into events, in one pass: every segment of every replica comes through here.

    Arrays stay bytes; logprobs are read once for their sums and minima. InvalidInput for a report that does not fit
    together.
    """
    # Each access to a bytes field copies it.
    token_ids, logprobs, entropies = report.token_ids, report.logprobs, report.entropies
    replica_id, incarnation, version = hello.replica_id, hello.incarnation, report.weight_version
    segments = report.segments
    ends = list(accumulate([segment.tokens for segment in segments], initial=0))
    _check_sizes(hello, report.seq, ends[-1], (len(token_ids), len(logprobs), len(entropies)))
    figures = _logprob_figures(logprobs, ends)
    events = []
    start = 0
    for segment, end, (total, lowest) in zip(segments, ends[1:], figures, strict=True):
        cut = slice(4 * start, 4 * end)
        event = SegmentReported(replica_id, incarnation, segment.grant, end - start, total, lowest, segment.text)
        body: NodeBody = (token_ids[cut], logprobs[cut], entropies[cut], segment, version)
        event.payload = body
        event.tail = segment.tail
        if segment.HasField("cached_tokens"):
            event.cached_tokens = segment.cached_tokens
        if segment.HasField("end"):
            _add_end(hello, event, segment.end)
        events.append(event)
        start = end
    return events


def _check_sizes(hello: wire.Hello, seq: int, tokens: int, sizes: tuple[int, int, int]) -> None:
    if sizes[:2] != (4 * tokens, 4 * tokens) or sizes[2] not in (0, 4 * tokens):
        raise InvalidInput(
            f"report {seq} of replica {hello.replica_id} has {tokens} tokens in segments, {sizes[0]} bytes of "
            f"ids, {sizes[1]} of logprobs"
        )


def _add_end(hello: wire.Hello, event: SegmentReported, end: wire.BranchEnd) -> None:
    kind = END_KINDS.get(end.reason)
    if kind is None:
        raise InvalidInput(
            f"a report of replica {hello.replica_id} ends grant {event.grant} for unknown reason {end.reason}"
        )
    event.end, event.dropped_tokens, event.error = kind, end.dropped_tokens, end.error


def _logprob_figures(logprobs: bytes, ends: list[int]) -> list[tuple[float, float]]:
    """Sum and minimum of each segment's logprobs, in nats; (0, 0) for a segment without tokens.

    `ends` are the segments' ends in tokens, after a leading 0.
    """
    starts = [start for start, end in pairwise(ends) if end > start]
    if not starts:
        return [(0.0, 0.0)] * (len(ends) - 1)
    values = np.frombuffer(logprobs, "<f4")
    sums = np.add.reduceat(values, starts, dtype=np.float64).tolist()
    minima = np.minimum.reduceat(values, starts).tolist()
    found = iter(zip(sums, minima, strict=True))
    return [next(found) if end > start else (0.0, 0.0) for start, end in pairwise(ends)]
