"""A GPU replica in virtual time: one event per segment, not one per decode step.

All running requests gain a token with every step, so a replica needs one number, the steps it has made, and a heap of
its requests by the step at which each reaches the end of its segment. Between two changes of the batch a step costs the
same, so the time of that step is known.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Protocol

from treeroll.core.model.events import EndKind
from treeroll.simulation.event_queue import EventQueue
from treeroll.simulation.virtual_kv import Span, VirtualKv

# Steps are compared after divisions: differences below this are rounding.
ROUNDING = 1e-6
NEVER = float("inf")


class Request:
    """One granted branch on one replica."""

    __slots__ = ("acknowledged", "done", "end", "ends", "grant", "priority", "replica", "spans", "tip", "uncached")

    def __init__(
        self, replica: str, grant: int, tip: Span, spans: list[Span], ends: Sequence[int], end: EndKind, priority: int
    ) -> None:
        """`ends` are the totals at which its segments end, and `end` is how the last of them does."""
        self.replica = replica
        self.grant = grant
        self.tip = tip
        self.spans = spans
        """Nodes that its tree has."""
        self.ends = ends
        self.end = end
        self.priority = priority
        self.done = 0
        """Segments reported."""
        self.acknowledged = 0
        """Segments whose report has been answered."""
        self.uncached: int | None = None
        """Prefix tokens it had to compute; None once reported."""


class Reports(Protocol):
    """Where segments go."""

    def report(
        self, now: float, request: Request, span: Span | None, cached: int | None, end: EndKind | None, dropped: int
    ) -> None:
        """Take a segment, or an end without one. `cached` as SegmentReported.cached_tokens, `dropped` likewise."""
        ...

    def idle(self, now: float) -> None:
        """The replica's last request has ended, and none waits."""
        ...


class VirtualReplica:
    """Decodes at most as many requests at once as it has slots; others wait, deepest first."""

    def __init__(
        self, step_s: Sequence[float], prefill_token_s: float, kv: VirtualKv, queue: EventQueue, reports: Reports,
        run_ahead: int,
    ) -> None:  # fmt: skip
        """`step_s[n]` are the seconds of a step with n requests, for 0 up to the number of slots."""
        self.prefilled = 0
        """Prefix tokens computed."""
        self.requests = 0
        """Requests that had a slot."""
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
        self._dead = False

    def busy_slot_s(self, now: float) -> float:
        """Seconds of slots with a request in them, up to now."""
        return self._busy + self._batch * (now - self._busy_at)

    def start(self, now: float, request: Request) -> None:
        """Decode it as soon as there is a slot."""
        if self._dead:
            return
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
        self._reports.report(now, request, None, None, EndKind.STOPPED, dropped)

    def die(self, now: float) -> int:
        """End with all that runs here. Returns the tokens that were decoded and not reported."""
        self._catch_up(now)
        lost = sum(request.tip.tokens - max(0, round(step - self._steps)) for step, _, request in self._running)
        self._resize(now, 0)
        self._running, self._waiting, self._requests, self._dead = [], [], {}, True
        return lost

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
        tokens = request.ends[0] - request.tip.total
        request.tip = self._kv.extend(request.tip, tokens)
        heapq.heappush(self._running, (self._steps + tokens, request.grant, request))

    def _leave(self, now: float, tip: Span) -> None:
        """A request has ended: the first that waits takes its slot."""
        self._kv.release(tip)
        self._resize(now, self._batch - 1)
        if self._waiting:
            self._admit(now, heapq.heappop(self._waiting)[2])

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
        if running:
            reached = running[0][0]
            if self._at + (reached - self._steps) * self._step_s[self._batch] <= now:
                self._steps, self._at = reached, now
                self._finish_segments(now, reached + ROUNDING)
        self._schedule()

    def _finish_segments(self, now: float, reached: float) -> None:
        """Report the segments that end with this step; go on with the next of each request, or end it."""
        running, report, extend = self._running, self._reports.report, self._kv.extend
        while running and running[0][0] <= reached:
            step, grant, request = running[0]
            span, cached = request.tip, None
            if request.uncached is not None:
                cached = span.total - span.tokens - request.uncached
                request.uncached = None
            done = request.done = request.done + 1
            end: EndKind | None = None
            if done == len(request.ends):
                end = request.end
            elif done >= request.acknowledged + self._run_ahead:
                end = EndKind.CREDIT
            report(now, request, span, cached, end, 0)
            if end is None:
                tokens = request.ends[done] - span.total
                request.tip = extend(span, tokens)
                heapq.heapreplace(running, (step + tokens, grant, request))
            else:
                heapq.heappop(running)
                del self._requests[grant]
                self._leave(now, span)
        if not running:
            self._reports.idle(now)
