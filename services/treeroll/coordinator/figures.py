"""Figures of a coordinator's loop: plain integers, counted once a tick, a loss or a broken promise."""

from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass, field

from treeroll import clock
from treeroll.core.model.events import LossKind
from treeroll.pb.v1 import watch_pb2 as watch

COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)
DECISION_S = COMMIT_S
TICK_RECORDS = (1, 4, 16, 64, 256, 1024, 4096, 16384)
COUNTS_AGAINST = (LossKind.DIED, LossKind.FAULTY)
# Latencies of a pool's trees that are remembered.
TREES = 512
# Losses of a replica that are remembered with their times.
REMEMBERED = 64


@dataclass(slots=True)
class Histogram:
    """How often values fell between bounds, which ascend; a value that equals one is below it."""

    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    total: float = 0.0
    most: float = 0.0  # since it was last taken

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
        if value > self.most:
            self.most = value

    def take(self) -> watch.Histogram:
        """As a message; its largest value begins anew."""
        most, self.most = self.most, 0.0
        return watch.Histogram(bounds=self.bounds, counts=self.counts, sum=self.total, max=most)


@dataclass(slots=True)
class Losses:
    """The losses of one replica."""

    times: int = 0
    at: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    """When the last ones were, on the monotonic clock."""
    wall: float = 0.0
    """When the last one was, seconds since the Unix epoch."""
    cause: str = ""

    def since(self, at: float) -> int:
        """How many there were since then, as far as they are remembered."""
        return sum(time >= at for time in self.at)


@dataclass(slots=True)
class Broken:
    """How often a named invariant was seen broken; when last, seconds since the Unix epoch, and what was seen then."""

    times: int = 0
    wall: float = 0.0
    detail: str = ""


@dataclass(slots=True)
class LoopFigures:
    """What one life of the loop has done so far."""

    ticks: int = 0
    commit_s: Histogram = field(default_factory=lambda: Histogram(COMMIT_S))
    tick_records: Histogram = field(default_factory=lambda: Histogram(TICK_RECORDS))
    decision_s: Histogram = field(default_factory=lambda: Histogram(DECISION_S))
    losses: dict[str, Losses] = field(default_factory=dict)
    """By replica, of those that died or lied."""
    forgotten_losses: Counter[str] = field(default_factory=Counter)
    """By pool: of replicas that are not told of any more."""
    broken: dict[str, Broken] = field(default_factory=dict)
    """By invariant."""
    tree_s: dict[str, deque[float]] = field(default_factory=dict)
    """By pool: seconds from the start of its last trees to their ends."""
    unsaid: int = 0
    """Snapshots that could not be made, which is a fault of ours."""

    def ticked(self, records: int, decision_s: float) -> None:
        """A tick of so many records is done, so long after the first of them came."""
        self.ticks += 1
        self.tick_records.add(records)
        self.decision_s.add(decision_s)

    def tree_ended(self, pool: str, seconds: float) -> None:
        """A tree ended, so long after it had started."""
        if (known := self.tree_s.get(pool)) is None:
            known = self.tree_s[pool] = deque(maxlen=TREES)
        known.append(seconds)

    def lost(self, replica_id: str, cause: str, kind: LossKind) -> None:
        """A replica lost its lease."""
        if kind not in COUNTS_AGAINST:
            return
        losses = self.losses.setdefault(replica_id, Losses())
        losses.times += 1
        losses.at.append(clock.monotonic())
        losses.wall, losses.cause = clock.wall(), cause

    def forget(self, replica_id: str, pool: str) -> None:
        """A replica of this pool is not told of any more."""
        if (losses := self.losses.pop(replica_id, None)) is not None:
            self.forgotten_losses[pool] += losses.times

    def broke(self, invariant: str, detail: str) -> None:
        """A promise was seen broken."""
        broken = self.broken.setdefault(invariant, Broken())
        broken.times += 1
        broken.wall, broken.detail = clock.wall(), detail
