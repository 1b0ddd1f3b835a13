"""Latencies by segment: one number per message, counted as often as the message has segments."""

from collections import deque
from collections.abc import Sequence

import numpy as np


class Latencies:
    """Times from a numbered message to the acknowledgement that covers it, seconds."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, int]] = []

    def track(self) -> "Track":
        """One more stream whose messages are acknowledged in order."""
        return Track(self._taken)

    def cut(self) -> dict[str, float]:
        """Median, 99th percentile and maximum since the last cut, ms."""
        figures = percentiles(self._taken)
        self._taken.clear()
        return figures


class Track:
    """Messages of one stream that are not acknowledged yet."""

    __slots__ = ("_taken", "_waiting")

    def __init__(self, taken: list[tuple[float, int]]) -> None:
        self._taken = taken
        self._waiting: deque[tuple[int, float, int]] = deque()

    def sent(self, seq: int, at: float, segments: int) -> None:
        """Message `seq` was handed over."""
        self._waiting.append((seq, at, segments))

    def acknowledged(self, seq: int, at: float) -> int:
        """All messages up to `seq` are acknowledged; returns their segments."""
        segments = 0
        while self._waiting and self._waiting[0][0] <= seq:
            _, sent_at, count = self._waiting.popleft()
            self._taken.append((at - sent_at, count))
            segments += count
        return segments

    def __len__(self) -> int:
        return len(self._waiting)


def percentiles(taken: Sequence[tuple[float, float]]) -> dict[str, float]:
    """p50, p99 and maximum in ms of (seconds, weight) pairs; nothing of none."""
    if not taken:
        return {}
    ordered = sorted(taken)
    reached = np.cumsum([weight for _, weight in ordered])

    def at(share: float) -> float:
        return 1e3 * ordered[int(np.searchsorted(reached, share * reached[-1]))][0]

    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": 1e3 * ordered[-1][0]}
