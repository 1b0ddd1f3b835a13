"""Faults by name: each is done to a world and undone, and says why it cannot be had on this machine if that is so."""

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from treeroll.chaos.edge import Way
from treeroll.chaos.redis_faults import Demoted, FullDisk, Killed, OutOfMemory, RedisFault, Silent
from treeroll.chaos.replica_process import Mood
from treeroll.chaos.world import ReplicaSeat, Seat, World
from treeroll.errors import InvalidInput


class Fault(ABC):
    """One thing that goes wrong. `inject`, then `heal`, as often as wanted."""

    name = ""
    what = ""
    """What happens, for people."""
    pauses = False
    """Whether nothing can grow meanwhile."""

    def unavailable(self) -> str:
        """Why it cannot be had here; "" if it can."""
        return ""

    @abstractmethod
    async def inject(self, world: World, dice: Random) -> None:
        """Let it happen; `dice` choose whom it befalls."""

    @abstractmethod
    async def heal(self, world: World) -> None:
        """Let it be over."""

    def victims(self) -> Sequence[str]:
        """Replicas that it befell the last time."""
        return ()


class StoreFault(Fault):
    """Something that befalls the Redis server."""

    pauses = True

    def __init__(self, name: str, what: str, fault: RedisFault) -> None:
        self.name, self.what, self._fault = name, what, fault

    def unavailable(self) -> str:
        """See Fault."""
        linux = sys.platform == "linux" or not isinstance(self._fault, FullDisk)
        return "" if linux else "only Linux can limit the files of a process that runs"

    async def inject(self, world: World, dice: Random) -> None:
        """See Fault."""
        self._fault.begin(world.redis)

    async def heal(self, world: World) -> None:
        """See Fault."""
        await asyncio.to_thread(self._fault.end, world.redis)


class CutStore(Fault):
    """The coordinator's connections to Redis are cut, and new ones refused."""

    name, what = "redis-cut", "connections to Redis are reset, and new ones refused"
    pauses = True

    async def inject(self, world: World, dice: Random) -> None:
        """See Fault."""
        world.redis_edge.refuse()

    async def heal(self, world: World) -> None:
        """See Fault."""
        await world.redis_edge.heal()


class SlowStore(Fault):
    """Every byte to and from Redis is late."""

    def __init__(self, each_way_s: float) -> None:
        self.name = f"redis-slow-{each_way_s:g}"
        self.what = f"{each_way_s:g} s more on the way to Redis, and back"
        self.pauses = each_way_s > 1.0
        self._each_way_s = each_way_s

    async def inject(self, world: World, dice: Random) -> None:
        """See Fault."""
        world.redis_edge.delay(self._each_way_s)

    async def heal(self, world: World) -> None:
        """See Fault."""
        await world.redis_edge.heal()


class StoppedCoordinator(Fault):
    """The coordinator's process is stopped, and goes on later."""

    name, what = "stop-coordinator", "the coordinator is stopped (SIGSTOP), and goes on"
    pauses = True

    async def inject(self, world: World, dice: Random) -> None:
        """See Fault."""
        world.coordinator.freeze()

    async def heal(self, world: World) -> None:
        """See Fault."""
        world.coordinator.thaw()


class KilledCoordinator(Fault):
    """The coordinator is killed, and started again on its store at the end."""

    name, what = "kill-coordinator", "the coordinator is killed (kill -9), and started again on its store at the end"
    pauses = True

    async def inject(self, world: World, dice: Random) -> None:
        """See Fault."""
        world.coordinator.kill()

    async def heal(self, world: World) -> None:
        """See Fault."""
        world.start_coordinator()


class SeatFault(Fault):
    """Something that befalls one replica or one trainer: the dice choose among those that nothing befell yet."""

    _victim: Seat | None = None

    def __init__(self, name: str, what: str) -> None:
        self.name, self.what = name, what

    def seats(self, world: World) -> Sequence[Seat]:
        """Whom it may befall."""
        return world.replicas

    @abstractmethod
    def begin(self, seat: Seat) -> None:
        """Do it."""

    async def end(self, seat: Seat) -> None:
        """Undo it."""
        await seat.edge.heal()
        seat.process.thaw()

    async def inject(self, world: World, dice: Random) -> None:
        """See Fault."""
        seats = self.seats(world)
        well = [seat for seat in seats if not seat.afflicted] or seats
        if not well:
            return  # trainers that have everything are gone
        self._victim = dice.choice(list(well))
        self._victim.afflicted = True
        self.begin(self._victim)

    async def heal(self, world: World) -> None:
        """See Fault."""
        victim, self._victim = self._victim, None
        if victim is not None:
            await self.end(victim)
            victim.afflicted = False

    def victims(self) -> Sequence[str]:
        """See Fault."""
        return [self._victim.name] if isinstance(self._victim, ReplicaSeat) else []


class KilledReplica(SeatFault):
    """kill -9; it is started again, as the next incarnation."""

    def begin(self, seat: Seat) -> None:
        """See SeatFault."""
        seat.process.kill()


class StoppedReplica(SeatFault):
    """SIGSTOP, then SIGCONT."""

    def begin(self, seat: Seat) -> None:
        """See SeatFault."""
        seat.process.freeze()


class HeldReplica(SeatFault):
    """Its network keeps bytes back."""

    def __init__(self, name: str, what: str, *ways: Way) -> None:
        super().__init__(name, what)
        self._ways = ways

    def begin(self, seat: Seat) -> None:
        """See SeatFault."""
        seat.edge.hold(*self._ways)


class ResetReplica(SeatFault):
    """Its connections end with a reset; new ones may come at once."""

    def begin(self, seat: Seat) -> None:
        """See SeatFault."""
        seat.edge.reset()


class MoodyReplica(SeatFault):
    """Its engine fails every request, or takes them and says nothing."""

    def __init__(self, name: str, what: str, mood: Mood) -> None:
        super().__init__(name, what)
        self._mood = mood

    def begin(self, seat: Seat) -> None:
        """See SeatFault."""
        if isinstance(seat, ReplicaSeat):
            seat.set_mood(self._mood)

    async def end(self, seat: Seat) -> None:
        """See SeatFault."""
        if isinstance(seat, ReplicaSeat):
            seat.set_mood(Mood.WELL)


class KilledTrainer(KilledReplica):
    """kill -9 of a trainer, which is started again."""

    def seats(self, world: World) -> Sequence[Seat]:
        """See SeatFault."""
        return [seat for seat in world.trainers if seat.process.running]


class StoppedTrainer(StoppedReplica):
    """SIGSTOP of a trainer, for longer than its leases last."""

    def seats(self, world: World) -> Sequence[Seat]:
        """See SeatFault."""
        return [seat for seat in world.trainers if seat.process.running]


class ResetTrainer(ResetReplica):
    """A trainer's connections end with a reset."""

    def seats(self, world: World) -> Sequence[Seat]:
        """See SeatFault."""
        return [seat for seat in world.trainers if seat.process.running]


@dataclass(frozen=True, slots=True)
class Strike:
    """Faults that begin together, and how long they last."""

    names: tuple[str, ...]
    after_s: float
    """Seconds of quiet before it."""
    lasts_s: float


def all_faults() -> Mapping[str, Fault]:
    """New ones of every kind, by name."""
    faults: Sequence[Fault] = (
        StoreFault("redis-silent", "Redis is stopped (SIGSTOP), and goes on", Silent()),
        StoreFault("redis-killed", "Redis is killed (kill -9), and started again on its data at the end", Killed()),
        StoreFault("redis-read-only", "Redis is made a replica, which takes no writes", Demoted()),
        StoreFault("redis-out-of-memory", "Redis is over its maxmemory", OutOfMemory()),
        StoreFault("redis-disk-full", "Redis' append-only file cannot grow", FullDisk()),
        CutStore(),
        SlowStore(0.1),
        SlowStore(3.0),
        SlowStore(6.0),
        StoppedCoordinator(),
        KilledCoordinator(),
        KilledReplica("kill-replica", "a replica is killed (kill -9), and started again"),
        StoppedReplica("stop-replica", "a replica is stopped (SIGSTOP), and goes on"),
        MoodyReplica("failing-replica", "a replica's engine fails every request at once", Mood.FAILING),
        MoodyReplica("mute-replica", "a replica takes branches and brings no token; it goes on talking", Mood.MUTE),
        HeldReplica("cut-replica", "a replica's network keeps everything back"),
        HeldReplica("unheard-replica", "a replica's network keeps back what it says", Way.UP),
        ResetReplica("reset-replica", "a replica's connections are reset"),
        KilledTrainer("kill-trainer", "a trainer is killed (kill -9), and started again"),
        StoppedTrainer("stop-trainer", "a trainer is stopped (SIGSTOP), and goes on"),
        ResetTrainer("reset-trainer", "a trainer's connections are reset"),
    )
    return {fault.name: fault for fault in faults}


def chosen(names: str) -> list[str]:
    """Names with commas between them; "all": every one that can be had here. InvalidInput names one that cannot."""
    known = all_faults()
    if names == "all":
        return [name for name, fault in known.items() if not fault.unavailable()]
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise InvalidInput(f"there is no fault '{name}'; there are {', '.join(known)}")
        if why := known[name].unavailable():
            raise InvalidInput(f"fault '{name}' cannot be had here: {why}")
    if not wanted:
        raise InvalidInput("no fault is named: give some with commas between them, or 'all'")
    return wanted


def drawn(names: Sequence[str], dice: Random, count: int) -> list[Strike]:
    """So many strikes of these faults, each soon after the one before. Every fault comes before one comes again."""
    strikes: list[Strike] = []
    bag: list[str] = []
    for _ in range(count):
        if not bag:
            bag = dice.sample(list(names), len(names))
        strikes.append(Strike((bag.pop(),), dice.uniform(1.0, 4.0), dice.uniform(0.5, 15.0)))
    return strikes
