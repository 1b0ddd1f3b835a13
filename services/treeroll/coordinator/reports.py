"""Reports of replicas as events for the core."""

import numpy as np

from treeroll.core.events import EndKind, SegmentReported
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire

END_KINDS = {
    wire.END_REASON_EOS: EndKind.EOS,
    wire.END_REASON_LENGTH: EndKind.LENGTH,
    wire.END_REASON_STOPPED: EndKind.STOPPED,
    wire.END_REASON_CREDIT: EndKind.CREDIT,
    wire.END_REASON_HOLD: EndKind.HOLD,
    wire.END_REASON_ERROR: EndKind.ERROR,
}


def _check(hello: wire.Hello, report: wire.Report) -> None:
    tokens = sum(segment.tokens for segment in report.segments)
    sizes = len(report.token_ids), len(report.logprobs)
    if sizes != (4 * tokens, 4 * tokens) or len(report.entropies) not in (0, 4 * tokens):
        raise InvalidInput(
            f"report {report.seq} of replica {hello.replica_id} has {tokens} tokens in segments, {sizes[0]} bytes of "
            f"ids, {sizes[1]} of logprobs"
        )
    for segment in report.segments:
        if segment.HasField("end") and segment.end.reason not in END_KINDS:
            raise InvalidInput(
                f"report {report.seq} of replica {hello.replica_id} ends grant {segment.grant} for unknown reason "
                f"{segment.end.reason}"
            )


def segments_of(hello: wire.Hello, report: wire.Report) -> list[SegmentReported]:
    """Cut a columnar report into events. Arrays stay bytes; logprobs are read once for their sums.

    InvalidInput for a report that does not fit together.
    """
    _check(hello, report)
    events, at = [], 0
    logprobs = np.frombuffer(report.logprobs, "<f4")
    for segment in report.segments:
        end = at + segment.tokens
        slice_ = logprobs[at:end]
        payload = pb.Node(
            logprobs=report.logprobs[4 * at : 4 * end],
            entropies=report.entropies[4 * at : 4 * end],
            text=segment.text,
            weight_versions=segment.weight_versions,
            started_at=segment.started_at,
            finished_at=segment.finished_at,
        )
        has_end = segment.HasField("end")
        events.append(
            SegmentReported(
                replica_id=hello.replica_id,
                incarnation=hello.incarnation,
                grant=segment.grant,
                n_tokens=segment.tokens,
                token_ids=report.token_ids[4 * at : 4 * end],
                logprob_sum=float(slice_.sum(dtype=np.float64)) if segment.tokens else 0.0,
                logprob_min=float(slice_.min()) if segment.tokens else 0.0,
                text=segment.text,
                cached_tokens=segment.cached_tokens if segment.HasField("cached_tokens") else None,
                end=END_KINDS[segment.end.reason] if has_end else None,
                dropped_tokens=segment.end.dropped_tokens if has_end else 0,
                error=segment.end.error if has_end else "",
                payload=payload,
            )
        )
        at = end
    return events
