"""A fleet in virtual time: replicas start, drain, and are taken away by a spot market."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from treeroll.core.model.events import LossKind
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.seats import Roster, Seat
from treeroll.simulation.event_queue import EventQueue
from treeroll.simulation.virtual_coordinator import VirtualCoordinator
from treeroll.simulation.virtual_core import VirtualCore
from treeroll.simulation.virtual_replica import VirtualReplica

POOL = ""
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Market:
    """Where replicas come from. Times in seconds."""

    start_s: float = 60.0
    """From wanting a replica until it takes work; +-20 %."""
    lost_per_hour: float = 0.05
    """Share of all replicas that is taken away in an hour, one by one and without a word before."""
    noticed_s: float = 1.0
    """Until the coordinator hears of it."""
    drain_s: float = 600.0


@dataclass(slots=True)
class _Life:
    seat: Seat
    wanted_at: float
    replica: VirtualReplica | None = None  # None while it starts
    draining: bool = False


class VirtualFleet:
    """Keeps as many replicas as it is told to, with the seats of a real fleet."""

    def __init__(  # noqa: PLR0913  # the parts that it moves
        self, size: int, slots: int, market: Market, core: VirtualCore, coordinator: VirtualCoordinator,
        queue: EventQueue, replicas: dict[str, VirtualReplica], make: Callable[[], VirtualReplica], seed: int,
    ) -> None:  # fmt: skip
        """`replicas` gets each that starts, under a name that no other ever has."""
        self._roster = Roster({POOL: GeneratorConfig(replicas=size)})
        self._slots, self._market = slots, market
        self._core, self._coordinator, self._queue = core, coordinator, queue
        self._replicas, self._make = replicas, make
        self._random = random.Random(seed)  # noqa: S311 - chance of a market, not a secret
        self._lives: dict[str, _Life] = {}
        self._started = 0
        self.lost = 0
        """Replicas that were taken away; and tokens that were decoded there and had not come to the coordinator."""
        self.lost_tokens = 0
        self.drained = 0
        self.paid_s = 0.0
        """Seconds of replicas that are over, their starts included."""
        for seat in self._roster.fill():
            self._ready(self._begin(seat, 0.0), 0.0)

    @property
    def wanted(self) -> int:
        """Replicas that there are to be."""
        return self._roster.wanted[POOL]

    @property
    def ready(self) -> int:
        """Those that work, also while they drain."""
        return sum(life.replica is not None for life in self._lives.values())

    def paid(self, now: float) -> float:
        """Seconds of replicas so far, their starts included."""
        return self.paid_s + sum(now - life.wanted_at for life in self._lives.values())

    def scale(self, now: float, wanted: int) -> None:
        """Have so many replicas."""
        seats = {life.seat.replica_id: name for name, life in self._lives.items()}
        by_life = {name: seat for seat, name in seats.items()}
        first = [by_life[name] for name in self._core.least_first() if name in by_life]
        self._roster.scale(POOL, wanted, first, self._market.drain_s)
        for name in [name for name, life in self._lives.items() if life.seat.until is not None and not life.draining]:
            life = self._lives[name]
            if life.replica is None:
                self._end(name, now)
            else:
                life.draining = True
                self._core.drain(name, now, self._market.drain_s)
        self._fill(now)
        self._coordinator.wake(now)

    def look(self, now: float, seconds: float) -> None:
        """What happened in so many seconds: some were taken away, and some that drain have nothing left to do."""
        chance = self._market.lost_per_hour * seconds / HOUR_S
        for name in [name for name, life in self._lives.items() if life.replica is not None]:
            if self._random.random() < chance:
                self._take_away(name, now)
            elif self._lives[name].draining and not self._core.branches_of(name):
                self._core.lose(name, now, LossKind.LEFT)
                self.drained += 1
                self._end(name, now)
        self._fill(now)

    def _take_away(self, name: str, now: float) -> None:
        replica = self._replicas[name]
        self.lost += 1
        self.lost_tokens += replica.die(now) + self._coordinator.lose(name)

        def notice(later: float) -> None:
            self._core.lose(name, later, LossKind.PREEMPTED)
            self._coordinator.wake(later)

        self._queue.at(now + self._market.noticed_s, notice)
        self._end(name, now)

    def _end(self, name: str, now: float) -> None:
        life = self._lives.pop(name)
        self.paid_s += now - life.wanted_at
        self._roster.remove(life.seat)

    def _fill(self, now: float) -> None:
        for seat in self._roster.fill():
            name = self._begin(seat, now)
            start_s = self._market.start_s * self._random.uniform(0.8, 1.2)
            self._queue.at(now + start_s, lambda later, name=name: self._ready(name, later))  # type: ignore[misc]

    def _begin(self, seat: Seat, now: float) -> str:
        self._started += 1
        name = f"{seat.replica_id}.{self._started}"
        self._lives[name] = _Life(seat, now)
        return name

    def _ready(self, name: str, now: float) -> None:
        if (life := self._lives.get(name)) is None:  # it was not wanted any more
            return
        life.seat.ready = True
        life.replica = self._replicas[name] = self._make()
        self._core.join(name, self._slots, now)
        self._coordinator.wake(now)
