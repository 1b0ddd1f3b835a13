"""A GPU replica in virtual time: one event per segment, not one per decode step.

All running requests gain a token with every step, so a replica needs one number, the steps it has made, and a heap of
its requests by the step at which each reaches the end of its segment. Between two changes of the batch a step costs the
same, so the time of that step is known.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Protocol

from treeroll.bench.event_queue import EventQueue
from treeroll.bench.lengths import tokens_until_end
from treeroll.bench.virtual_kv import Span, VirtualKv
from treeroll.core.events import EndKind, SegmentReported

# Steps are compared after divisions: differences below this are rounding.
ROUNDING = 1e-6
NEVER = float("inf")


class Request:
    """One granted branch on one replica."""

    __slots__ = (
        "acknowledged",
        "boundaries",
        "done",
        "eos",
        "grant",
        "hazards",
        "hold",
        "priority",
        "seed",
        "tip",
        "uncached",
    )

    def __init__(
        self,
        grant: int,
        seed: int,
        tip: Span,
        boundaries: Sequence[int],
        hazards: Sequence[float],
        hold: bool,
        priority: int,
    ) -> None:
        """`boundaries` and `hazards` are those of the segments still to come."""
        self.grant = grant
        self.seed = seed
        self.tip = tip
        self.boundaries = boundaries
        self.hazards = hazards
        self.hold = hold
        self.priority = priority
        self.done = 0
        """Segments reported."""
        self.acknowledged = 0
        """Segments whose report has been answered."""
        self.uncached: int | None = None
        """Prefix tokens it had to compute; None once reported."""
        self.eos = False
        """Its present segment will end the path."""


class Reports(Protocol):
    """Where segments go."""

    def report(self, now: float, event: SegmentReported, request: Request) -> None:
        """Take a segment, whose tokens are `request.tip` at this moment."""
        ...

    def idle(self, now: float) -> None:
        """The replica's last request has ended, and none waits."""
        ...


class VirtualReplica:
    """Decodes at most as many requests at once as it has slots; others wait, deepest first."""

    def __init__(
        self, name: str, incarnation: int, step_s: Sequence[float], prefill_token_s: float, kv: VirtualKv,
        queue: EventQueue, reports: Reports, run_ahead: int,
    ) -> None:  # fmt: skip
        """`step_s[n]` are the seconds of a step with n requests, for 0 up to the number of slots."""
        self.prefilled = 0
        """Prefix tokens computed."""
        self.requests = 0
        """Requests that had a slot."""
        self._name = name
        self._incarnation = incarnation
        self._slots = len(step_s) - 1
        self._step_s = step_s
        self._prefill_token_s = prefill_token_s
        self._kv = kv
        self._queue = queue
        self._reports = reports
        self._run_ahead = run_ahead
        self._running: list[tuple[float, int, Request]] = []  # by the step that ends the segment
        self._waiting: list[tuple[int, int, Request]] = []
        self._requests: dict[int, Request] = {}
        self._batch = 0
        # Steps made until _at, a time that lies ahead while prefill holds decoding up.
        self._steps = 0.0
        self._at = 0.0
        self._wake_at = NEVER
        self._busy = 0.0
        self._busy_at = 0.0
        self._on_wake: Callable[[float], None] = self._wake

    def busy_slot_s(self, now: float) -> float:
        """Seconds of slots with a request in them, up to now."""
        return self._busy + self._batch * (now - self._busy_at)

    def start(self, now: float, request: Request) -> None:
        """Decode it as soon as there is a slot."""
        self._requests[request.grant] = request
        if self._batch < self._slots:
            self._catch_up(now)
            self._admit(now, request)
            self._schedule()
        else:
            heapq.heappush(self._waiting, (request.priority, request.grant, request))

    def stop(self, now: float, grant: int) -> None:
        """End a request at once; the tokens of its unfinished segment are dropped."""
        request = self._requests.pop(grant, None)
        if request is None:
            return
        self._catch_up(now)
        dropped = 0
        entry = next((entry for entry in self._running if entry[1] == grant), None)
        if entry is None:
            self._waiting = [waiting for waiting in self._waiting if waiting[1] != grant]
            heapq.heapify(self._waiting)
        else:
            dropped = request.tip.tokens - max(0, round(entry[0] - self._steps))
            self._running.remove(entry)
            heapq.heapify(self._running)
            self._leave(now, request.tip)
            self._schedule()
        event = SegmentReported(self._name, self._incarnation, grant, 0, end=EndKind.STOPPED, dropped_tokens=dropped)
        self._reports.report(now, event, request)

    def _catch_up(self, now: float) -> None:
        """Count the steps made until now, before the batch changes."""
        if now > self._at:
            if self._batch:
                self._steps += (now - self._at) / self._step_s[self._batch]
            self._at = now

    def _resize(self, now: float, batch: int) -> None:
        self._busy += self._batch * (now - self._busy_at)
        self._busy_at = now
        self._batch = batch

    def _admit(self, now: float, request: Request) -> None:
        self._resize(now, self._batch + 1)
        uncached = request.uncached = self._kv.hold(request.tip)
        # The last prefix token is part of the first step, as any token.
        self._at += (uncached - 1) * self._prefill_token_s
        self.prefilled += uncached
        self.requests += 1
        heapq.heappush(self._running, (self._steps + self._next_segment(request), request.grant, request))

    def _leave(self, now: float, tip: Span) -> None:
        """A request has ended: the first that waits takes its slot."""
        self._kv.release(tip)
        self._resize(now, self._batch - 1)
        if self._waiting:
            self._admit(now, heapq.heappop(self._waiting)[2])

    def _next_segment(self, request: Request) -> int:
        """Hold KV for the request's next segment. Returns its tokens."""
        done, tip = request.done, request.tip
        most = request.boundaries[done] - tip.total
        # Keyed by what is left of the path: the same however often the branch is granted anew.
        until_end = tokens_until_end(request.seed, len(request.boundaries) - done, request.hazards[done], most)
        request.eos = until_end is not None
        tokens = most if until_end is None else until_end
        request.tip = self._kv.extend(tip, tokens)
        return tokens

    def _schedule(self) -> None:
        """Wake up at the next end of a segment. An earlier wake-up that is planned finds nothing, and plans again."""
        if self._running:
            due = self._at + (self._running[0][0] - self._steps) * self._step_s[self._batch]
            if due < self._wake_at:
                self._wake_at = due
                self._queue.at(due, self._on_wake)

    def _wake(self, now: float) -> None:
        if now != self._wake_at:
            return
        self._wake_at = NEVER
        running = self._running
        if running and self._at + (running[0][0] - self._steps) * self._step_s[self._batch] <= now:
            self._steps, self._at = running[0][0], now
            while running and running[0][0] <= self._steps + ROUNDING:
                self._finish_segment(now, running[0][2])
            if not running:
                self._reports.idle(now)
        self._schedule()

    def _finish_segment(self, now: float, request: Request) -> None:
        """Report the segment at the head of the heap; go on with the next, or end the request."""
        span, uncached = request.tip, request.uncached
        cached = None
        if uncached is not None:
            cached = span.total - span.tokens - uncached
            request.uncached = None
        request.done += 1
        end = self._end_of(request)
        event = SegmentReported(
            self._name, self._incarnation, request.grant, span.tokens, cached_tokens=cached, end=end
        )
        self._reports.report(now, event, request)
        if end is None:
            reached = self._running[0][0]
            heapq.heapreplace(self._running, (reached + self._next_segment(request), request.grant, request))
        else:
            heapq.heappop(self._running)
            del self._requests[request.grant]
            self._leave(now, span)

    def _end_of(self, request: Request) -> EndKind | None:
        if request.eos:
            return EndKind.EOS
        if request.done == len(request.boundaries):
            return EndKind.LENGTH
        if request.hold:
            return EndKind.HOLD
        if request.done >= request.acknowledged + self._run_ahead:
            return EndKind.CREDIT
        return None
