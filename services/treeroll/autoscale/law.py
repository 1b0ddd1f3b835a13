"""The law: `desired = ceil(demand / target)` over a stable window, and over a panic window when that asks for twice as
much as there is.

After Knative's autoscaler (https://knative.dev/docs/serving/autoscaling/kpa-specific/), with branches in the place of
requests. Equal signals give equal decisions.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from treeroll.autoscale.consumption import Cap, Inequality
from treeroll.autoscale.terms import Terms

# KV usage at full slots is told from what is used now; from fewer slots than this share of them, nothing.
TELLING = 0.05
# Of a quotient before it is rounded up.
ROUNDING = 1e-9


class Rule(StrEnum):
    """What a decision was bound by."""

    STABLE = "stable"  # the demand of the stable window
    PANIC = "panic"  # that of the panic window, which asked for twice as much as there was
    PANIC_HOLD = "panic hold"  # nothing is taken away after that
    SHRINK_DELAY = "shrink delay"  # more was wanted not long ago
    STEP = "step"
    LEAST = "min"
    MOST = "max"
    RUN_OPEN = "open run"  # the last one stays while a run may want it
    RATE = "trainer's rate"  # it cannot take more trees
    STALENESS = "trainer's staleness"  # more trees would wait, or come too late


_OF_CAP = {Inequality.RATE: Rule.RATE, Inequality.STALENESS: Rule.STALENESS}


@dataclass(frozen=True, slots=True)
class Signal:
    """A pool at one moment. `at`: seconds, on any clock that only goes forward."""

    at: float
    size: int
    """Replicas that its fleet is to have now."""
    live: int = 0
    """Branches that replicas decode."""
    waiting: int = 0
    """Branches that wait for a slot, or in an engine."""
    tasks: int = 0
    """Tasks whose trees may start as soon as there is room."""
    trees: int = 0
    """Trees that grow."""
    open_runs: int = 0
    """Runs that take tasks, or grow trees."""
    slots: int = 0
    """Of all replicas that are there."""
    replicas: int = 0
    """How many those are."""
    kv_usage: float = 0.0
    """Mean share of their KV caches in use, 0 to 1."""
    cap: Cap | None = None
    """What its trainers can consume."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas a pool is to have, and why."""

    at: float
    size: int
    desired: int
    rule: Rule
    stable: float
    """Branches wanted, mean of the stable window; of the panic window:"""
    panic: float
    carries: float
    """Branches that one replica is to have."""
    live: int
    waiting: int
    tasks: int
    width: float
    """Branches of a tree, mean of the stable window."""
    cap: Cap | None

    def because(self) -> str:
        """The rule and the inputs, on one line."""
        cap = f"; {self.cap.because}" if self.cap is not None else ""
        return (
            f"{self.rule}: {self.live} branches live, {self.waiting} waiting, {self.tasks} tasks x {self.width:.3g} "
            f"branches soon; mean {self.stable:.4g} ({self.panic:.4g} lately), {self.carries:.3g} for each replica{cap}"
        )


@dataclass(slots=True)
class _Seen:
    at: float
    branches: int
    tasks: int
    trees: int
    share: float  # of slots in use
    kv_usage: float


class Law:
    """Looks at one pool again and again."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._seen: deque[_Seen] = deque()  # in the stable window
        self._wishes: deque[tuple[float, int]] = deque()  # in the shrink delay, each larger than all after it
        self._first_at: float | None = None
        self._panic_until = -math.inf
        self._kv_full = 0.0  # share of the KV cache that full slots would take
        self._size: int | None = None
        self._changed_at = -math.inf

    def look(self, signal: Signal) -> Decision:
        """What follows from this signal and those before it, which were earlier."""
        terms = self.terms
        self._take(signal)
        width = _ratio(((seen.branches, seen.trees) for seen in self._seen), default=1.0)
        carries = terms.target * self._slots(signal)
        stable = _mean([seen.branches + seen.tasks * width for seen in self._seen])
        recent = [seen for seen in self._seen if seen.at > signal.at - terms.panic_s]
        panic = _mean([seen.branches + seen.tasks * width for seen in recent])
        wish, rule = self._wish(signal, _up(stable / carries), _up(panic / carries))
        desired, rule = self._bounded(signal, *self._unhurried(signal, wish, rule))
        return Decision(
            signal.at, signal.size, desired, rule, stable, panic, carries, signal.live, signal.waiting, signal.tasks,
            width, signal.cap,
        )  # fmt: skip

    def _take(self, signal: Signal) -> None:
        at = signal.at
        self._first_at = at if self._first_at is None else self._first_at
        if self._size is not None and signal.size != self._size:
            self._changed_at = at
        self._size = signal.size
        share = signal.live / signal.slots if signal.slots else 0.0
        branches = signal.live + signal.waiting
        self._seen.append(_Seen(at, branches, signal.tasks, signal.trees, share, signal.kv_usage))
        while self._seen[0].at <= at - self.terms.stable_s:
            self._seen.popleft()
        telling = [(seen.kv_usage, seen.share) for seen in self._seen if seen.share >= TELLING]
        if telling:
            self._kv_full = _ratio(telling, default=0.0)

    def _slots(self, signal: Signal) -> float:
        """Of one replica, as many as its KV cache carries."""
        own = signal.slots / signal.replicas if signal.replicas and signal.slots else float(self.terms.slots)
        return own * min(1.0, self.terms.kv_share / self._kv_full) if self._kv_full else own

    def _wish(self, signal: Signal, stable: int, panic: int) -> tuple[int, Rule]:
        """Of demand and trainers."""
        if panic >= max(1, 2 * signal.size):
            self._panic_until = signal.at + self.terms.stable_s
        wish, rule = stable, Rule.STABLE
        if signal.at < self._panic_until and panic > stable:
            wish, rule = panic, Rule.PANIC
        if signal.cap is not None and wish > signal.cap.size:
            wish, rule = signal.cap.size, _OF_CAP[signal.cap.binds]
        return wish, rule

    def _unhurried(self, signal: Signal, wish: int, rule: Rule) -> tuple[int, Rule]:
        """A pool shrinks late."""
        while self._wishes and self._wishes[-1][1] <= wish:
            self._wishes.pop()
        self._wishes.append((signal.at, wish))
        while self._wishes[0][0] <= signal.at - self.terms.shrink_delay_s:
            self._wishes.popleft()
        if wish >= signal.size:
            return wish, rule
        if signal.at < self._panic_until:
            return signal.size, Rule.PANIC_HOLD
        watched = signal.at - (self._first_at or 0.0) >= self.terms.shrink_delay_s
        held = min(signal.size, self._wishes[0][1]) if watched else signal.size
        return (held, Rule.SHRINK_DELAY) if held > wish else (wish, rule)

    def _bounded(self, signal: Signal, wish: int, rule: Rule) -> tuple[int, Rule]:
        terms, size = self.terms, signal.size
        wish, rule = self._between(signal, wish, rule)
        if terms.step is not None and wish != size:
            step = terms.step if signal.at - self._changed_at >= terms.panic_s else 0
            if abs(wish - size) > step:
                wish, rule = size + (step if wish > size else -step), Rule.STEP
        return self._between(signal, wish, rule)

    def _between(self, signal: Signal, wish: int, rule: Rule) -> tuple[int, Rule]:
        wanted = 1 if signal.open_runs or signal.trees else 0
        if wish < self.terms.least:
            return self.terms.least, Rule.LEAST
        if wish < wanted:
            return wanted, Rule.RUN_OPEN
        return (self.terms.most, Rule.MOST) if wish > self.terms.most else (wish, rule)


def _up(quotient: float) -> int:
    return math.ceil(quotient - ROUNDING)


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _ratio(pairs: Iterable[tuple[float, float]], default: float) -> float:
    above, below = (math.fsum(side) for side in zip(*pairs, strict=True))
    return above / below if below else default
