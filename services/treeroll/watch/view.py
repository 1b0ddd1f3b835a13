"""Some minutes of a service, as its snapshots tell them: what rules look at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from treeroll.pb.v1.watch_pb2 import PoolFigures, Snapshot
from treeroll.store.base import Store

SPAN_S = 900.0
PAGE = 1000


@dataclass(frozen=True, slots=True)
class StoreLook:
    """What who watches has seen of the store itself."""

    error: str = ""
    """Why it does not answer, a sentence; "" if it does."""
    evicted_keys: int = 0
    """Since its server started; never more than 0 if it is set up right."""


@dataclass(frozen=True, slots=True)
class View:
    """`latest`: the last snapshot, None if there never was any. `past`: points before it, oldest first. `now`: seconds
    since the Unix epoch, by a clock that agrees with the coordinator's; who watches for long takes the time of the last
    snapshot, and adds for how long there was none after it."""

    now: float
    latest: Snapshot | None
    past: Sequence[Snapshot] = ()
    store: StoreLook = field(default_factory=StoreLook)

    @property
    def age_s(self) -> float:
        """How old the last snapshot is; infinite without one, 0 if its clock is ahead."""
        return max(0.0, self.now - self.latest.at) if self.latest is not None else float("inf")

    def since(self, seconds: float) -> "Growth | None":
        """What came in the last so many seconds before the last snapshot, or in as much of that as is known of this
        epoch; None if that is nothing."""
        points = self._of_epoch()
        later = [point for point in points if self._before(point) <= seconds]
        return Growth(later[0], self.latest) if later and self.latest is not None else None

    def since_trees(self, scored_trees: int) -> "Growth | None":
        """What came with the last so many scored trees; None before there were as many."""
        latest = self.latest
        for point in reversed(self._of_epoch()):
            if latest is not None and latest.totals.scored_trees - point.totals.scored_trees >= scored_trees:
                return Growth(point, latest)
        return None

    def spent_at(self) -> list[float]:
        """When tokens came, as `Snapshot.at`: the points that have more than the one before, and the first."""
        points = [*self._of_epoch(), *([self.latest] if self.latest is not None else [])]
        if not points:
            return []
        return [points[0].at] + [b.at for a, b in pairwise(points) if b.totals.spent != a.totals.spent]

    def all_within(self, seconds: float) -> list[Snapshot]:
        """The points of the last so many seconds, and the last snapshot."""
        points = [point for point in self._of_epoch() if self._before(point) <= seconds]
        return [*points, *([self.latest] if self.latest is not None else [])]

    def _of_epoch(self) -> list[Snapshot]:
        latest = self.latest
        return [point for point in self.past if latest is not None and point.epoch == latest.epoch]

    def _before(self, point: Snapshot) -> float:
        return self.latest.at - point.at if self.latest is not None else 0.0


@dataclass(frozen=True, slots=True)
class Growth:
    """What came between a point and the last snapshot."""

    first: Snapshot
    last: Snapshot

    @property
    def seconds(self) -> float:
        """How long that was."""
        return max(0.0, self.last.at - self.first.at)

    def of(self, name: str) -> int:
        """By how much a figure of `RunTotals` has grown."""
        grown: int = getattr(self.last.totals, name) - getattr(self.first.totals, name)
        return max(0, grown)

    def share(self, part: str, whole: str) -> float:
        """Of what came of one figure of `RunTotals`, as a share of what came of another; 0 of nothing."""
        return self.of(part) / self.of(whole) if self.of(whole) else 0.0

    def pools(self) -> Iterator[tuple[PoolFigures, PoolFigures]]:
        """Each pool at the beginning and at the end."""
        first = {pool.name: pool for pool in self.first.pools}
        for pool in self.last.pools:
            if pool.name in first:
                yield first[pool.name], pool


async def look(store: Store, now: float, span_s: float = SPAN_S) -> View:
    """What a store has of the last so many seconds, without opening it. StoreError."""
    found = await store.load_snapshot()
    latest = None if found is None else Snapshot.FromString(found)
    past: list[Snapshot] = []
    after = f"{max(0, int(1000 * (now - span_s)))}-0"
    while page := await store.load_points(after, PAGE):
        past += [Snapshot.FromString(point) for _, point in page]
        after = page[-1][0]
        if len(page) < PAGE:
            break
    return View(now, latest, [point for point in past if latest is None or point.at < latest.at])
