"""Reports on their way to the coordinator: gathered, numbered, and kept until they are durable there."""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass

from treeroll.pb.v1 import replica_pb2 as wire

# A message costs about a millisecond however many segments it holds; past this many the gain is gone.
MAX_SEGMENTS = 128
# Far below the limit of a message, so that one always fits: the last segment may go over it.
MAX_PAYLOAD_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class _Sent:
    report: wire.Report
    segments_of: dict[int, int]
    """Segments in the report, by grant."""


class Outbox:
    """Segments in order. Bounded without a cap of its own: run-ahead credit stops branches whose segments stay here."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        """Set when there is something new to send."""
        self.last_seq = 0
        """Highest number given to a report."""
        self._waiting: deque[wire.Segment] = deque()
        self._unacknowledged: deque[_Sent] = deque()
        self._sent_seq = 0  # highest number sent on the present call
        self._segments_of: Counter[int] = Counter()  # segments held here, by grant

    @property
    def acked_seq(self) -> int:
        """Number of the last report that is not held here any more."""
        return self._unacknowledged[0].report.seq - 1 if self._unacknowledged else self.last_seq

    @property
    def grants(self) -> set[int]:
        """Grants with segments that are not durable yet."""
        return set(self._segments_of)

    def __len__(self) -> int:
        """Segments that are not durable yet."""
        return self._segments_of.total()

    def put(self, segment: wire.Segment) -> None:
        """Add a segment."""
        self._waiting.append(segment)
        self._segments_of[segment.grant] += 1
        self.wake.set()

    def clear(self) -> None:
        """Forget everything, numbers too: another incarnation begins."""
        self._waiting.clear()
        self._unacknowledged.clear()
        self._segments_of.clear()
        self.last_seq = self._sent_seq = 0

    def rewind(self) -> None:
        """A new call: everything unacknowledged must be sent again."""
        self._sent_seq = self.acked_seq
        self.wake.set()

    def next_report(self) -> wire.Report | None:
        """What to send now: an old report again, or a new one of all that waits; None if there is nothing."""
        if self._sent_seq < self.last_seq:
            index = self._sent_seq + 1 - self._unacknowledged[0].report.seq
            report = self._unacknowledged[index].report
        elif self._waiting:
            report = self._gather()
        else:
            self.wake.clear()
            return None
        self._sent_seq = report.seq
        return report

    def acknowledge(self, seq: int) -> dict[int, int]:
        """Forget reports up to `seq`. Returns how many of their segments belong to each grant."""
        durable: Counter[int] = Counter()
        while self._unacknowledged and self._unacknowledged[0].report.seq <= seq:
            durable.update(self._unacknowledged.popleft().segments_of)
        self._sent_seq = max(self._sent_seq, min(seq, self.last_seq))
        self._segments_of -= durable  # drops grants that reach 0
        return durable

    def _gather(self) -> wire.Report:
        segments: list[wire.Segment] = []
        payload = 0
        while self._waiting and len(segments) < MAX_SEGMENTS and payload < MAX_PAYLOAD_BYTES:
            segments.append(self._waiting.popleft())
            payload += len(segments[-1].node)
        self.last_seq += 1
        report = wire.Report(seq=self.last_seq, segments=segments)
        self._unacknowledged.append(_Sent(report, Counter(segment.grant for segment in segments)))
        return report
