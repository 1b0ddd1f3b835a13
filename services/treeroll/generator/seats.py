"""Which replicas a fleet is to have: so many of each pool, and which of them are on their way out. No Ray here."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from treeroll.generator.config import GeneratorConfig

# Ends that are nearer to each other than this, seconds, are one.
SAME_S = 1.0
# Most replicas of a pool, as in `generator.replicas`.
MOST = 4096


@dataclass(slots=True, eq=False)
class Seat:
    """A replica that there is to be, whatever its incarnation: the `index`-th of its pool, the `number`-th of all."""

    replica_id: str
    pool: str
    index: int
    number: int
    config: GeneratorConfig
    ready: bool = False
    """Its present life was welcomed by the coordinator."""
    given_up: bool = False
    until: float | None = None
    """When it is to have ended, on the monotonic clock; None: never."""
    unplaced: str = ""
    """Why Ray has no place for it now, as a sentence; "" while that is not so."""
    cause: str = ""
    """Why it is to end."""
    preempted: bool = False
    """Its node is taken away."""

    @property
    def left_s(self) -> float:
        """Seconds that are left of its time to end."""
        return max(0.0, (self.until or 0.0) - time.monotonic())


@dataclass(slots=True)
class Roster:
    """The seats of a fleet. `before`: what their names begin with."""

    pools: dict[str, GeneratorConfig]
    before: str = ""
    wanted: dict[str, int] = field(init=False)
    """Replicas that there are to be of each pool."""
    seats: dict[str, Seat] = field(default_factory=dict)
    """All that there are, by name, those that are to end too."""

    def __post_init__(self) -> None:
        self.wanted = {pool: own.replicas for pool, own in self.pools.items()}

    def fill(self) -> list[Seat]:
        """New seats for what is wanted and not there. Names of seats that are gone are used again: incarnations count
        on. One that was given up keeps its place, for another would fail as well."""
        added = []
        for pool, wanted in self.wanted.items():
            for _ in range(wanted - sum(seat.until is None for seat in self.of(pool))):
                taken = {seat.index for seat in self.of(pool)}
                added.append(self._add(pool, next(i for i in range(MOST * 2) if i not in taken)))
        return added

    def of(self, pool: str) -> list[Seat]:
        """All seats of a pool."""
        return [seat for seat in self.seats.values() if seat.pool == pool]

    def kept(self, pool: str) -> int:
        """How many of a pool's replicas are ready, start, or will be started again."""
        return sum(seat.until is None and not seat.given_up for seat in self.of(pool))

    @property
    def ready(self) -> int:
        """How many are ready, of those that are to stay."""
        return sum(seat.ready and seat.until is None for seat in self.seats.values())

    @property
    def total(self) -> int:
        """How many are wanted, of all pools."""
        return sum(self.wanted.values())

    def scale(self, pool: str, wanted: int, first: Sequence[str], within_s: float) -> None:
        """So many replicas are wanted of a pool from now on. Where that is fewer, those end that serve nobody, then
        those named `first`, in order."""
        if pool not in self.wanted:
            return
        self.wanted[pool] = min(max(wanted, 0), MOST)
        places = {name: place for place, name in enumerate(first)}
        staying = [seat for seat in self.of(pool) if seat.until is None]
        staying.sort(key=lambda seat: (seat.ready and not seat.given_up, places.get(seat.replica_id, len(places))))
        for seat in staying[: max(0, len(staying) - self.wanted[pool])]:
            self.end(seat, within_s, "its pool shrinks")

    def end(self, seat: Seat, within_s: float, cause: str, preempted: bool = False) -> bool:
        """The seat's replica is to end; said again, the earlier time counts. Returns whether that is news."""
        until = time.monotonic() + within_s
        seat.preempted = seat.preempted or preempted
        if seat.until is not None and until > seat.until - SAME_S:
            return False
        seat.until, seat.cause = until, cause
        return True

    def adopt(self, replica_id: str, pool: str) -> Seat | None:
        """The seat of a replica that is there already, one more if need be; None if it has no place here."""
        known = self.seats.get(replica_id)
        if known is not None or pool not in self.pools:
            return known
        digits = replica_id.removeprefix(self._stem(pool))
        return self._add(pool, int(digits)) if digits.isdecimal() and digits != replica_id else None

    def remove(self, seat: Seat) -> None:
        """Nothing of it is there any more."""
        if self.seats.get(seat.replica_id) is seat:
            del self.seats[seat.replica_id]

    def _stem(self, pool: str) -> str:
        """What the names of a pool's replicas are before their number."""
        return self.before + (f"{pool}-" if pool else "r")

    def _add(self, pool: str, index: int) -> Seat:
        numbers = {seat.number for seat in self.seats.values()}
        number = next(i for i in range(len(numbers) + 1) if i not in numbers)
        name = f"{self._stem(pool)}{index}"
        seat = self.seats[name] = Seat(name, pool, index, number, self.pools[pool])
        return seat
