"""One consumer group over a feed, in memory: cursor, leases and acknowledgements. Pure; the caller brings the time."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from treeroll import ranges
from treeroll.ranges import Range
from treeroll.store import lease_id
from treeroll.store.base import GroupPosition, GroupState, Move, Step
from treeroll.store.lease_id import LeaseId
from treeroll.store.memory_steps import MemorySteps

# Deadlines of an entry that was given back, and of one in a global batch, whatever the time.
_RELEASED, _IN_STEP = -math.inf, math.inf


@dataclass(slots=True)
class _Lent:
    name: LeaseId
    deadline: float  # seconds


@dataclass(slots=True)
class MemoryGroup:
    """Who holds which entries of a feed."""

    epoch: int = 0  # how often it was moved
    move_id: str = ""  # the last time
    delivered: int = 0  # entries handed out at least once
    lent: dict[int, _Lent] = field(default_factory=dict)  # by seq
    steps: MemorySteps = field(default_factory=MemorySteps)
    redelivered: dict[int, int] = field(
        default_factory=dict
    )  # seq -> delivery acknowledged, where it was not the first

    def move(self, move: Move) -> None:
        """Give it another past."""
        self.epoch, self.move_id = self.epoch + 1, move.move_id
        self.delivered = max((last for _, last in move.acknowledged), default=0)
        holes = ranges.missing(move.acknowledged, self.delivered)
        left_out = [seq for first, last in holes for seq in range(first, last + 1)]
        # As if they had been given back; their next delivery is the first of this epoch.
        self.lent = {seq: _Lent(LeaseId(self.epoch, seq, 0, ""), _RELEASED) for seq in left_out}
        self.redelivered = {}
        self.steps = MemorySteps(move.steps, move.steps)

    def is_at(self, move: Move) -> bool:
        """Whether exactly what a move names is acknowledged."""
        return (self.acknowledged(), self.steps.through) == ([*move.acknowledged], move.steps)

    def position(self) -> GroupPosition:
        """Where it stands."""
        return GroupPosition(self.epoch, self.acknowledged(), self.steps.through, len(self.steps.out))

    def available(self, entries: int, count: int, now: float) -> list[int]:
        """What `lend` would lend now."""
        old = [lent.seq for lent in self._expired(now)[:count]]
        return old + list(range(self.delivered + 1, min(entries, self.delivered + count - len(old)) + 1))

    def on_lease(self, now: float) -> int:
        """Entries that consumers hold."""
        return sum(now < lent.deadline < _IN_STEP for lent in self.lent.values())

    def take_step(self, step: Step, seqs: list[int], entries: int, now: float) -> bool:
        """Take entries for a global batch; False if they are not what is available."""
        available = {*self.available(entries, entries + len(self.lent), now)}
        new = [seq for seq in seqs if seq > self.delivered]
        if not {*seqs} <= available or new != list(range(self.delivered + 1, self.delivered + 1 + len(new))):
            return False
        for seq in seqs:
            delivery = self.lent[seq].name.delivery + 1 if seq in self.lent else 1
            self.lent[seq] = _Lent(LeaseId(self.epoch, seq, delivery, ""), _IN_STEP)
        self.delivered += len(new)
        self.steps.take(step, seqs)
        return True

    def ack_share(self, number: int, rank: int) -> bool:
        """A rank is done with its share; whether all are."""
        done = self.steps.ack(number, rank)
        for seq in done or ():
            del self.lent[seq]
        return done is not None

    def acknowledged(self) -> list[Range]:
        """Entries acknowledged."""
        return ranges.missing(ranges.of(self.lent), self.delivered)

    def has_old(self, texts: Iterable[str]) -> bool:
        """Whether one of these leases is of an earlier epoch."""
        return any(name.epoch < self.epoch for name in map(lease_id.parse, texts) if name)

    def lend(self, entries: int, consumer: str, count: int, now: float, lease_s: float) -> list[LeaseId]:
        """Lend up to `count` of a feed of `entries`: first those whose time is over, oldest deadline first."""
        names = [LeaseId(self.epoch, old.seq, old.delivery + 1, consumer) for old in self._expired(now)[:count]]
        upto = min(entries, self.delivered + count - len(names))
        names += [LeaseId(self.epoch, seq, 1, consumer) for seq in range(self.delivered + 1, upto + 1)]
        self.delivered = max(self.delivered, upto)
        self.lent |= {name.seq: _Lent(name, now + lease_s) for name in names}
        return names

    def renew(self, text: str, deadline: float) -> bool:
        """Set the lease's deadline, in seconds. False if it moved on, was given back or is unknown."""
        lent = self._lent(text)
        if lent is None or lent.deadline == _RELEASED:
            return False
        lent.deadline = deadline
        return True

    def ack(self, text: str) -> bool:
        """Finish the lease for good; again is a no-op. False if it moved on, was given back or is unknown."""
        lent = self._lent(text)
        if lent is None:
            return self._acked(text)
        if lent.deadline == _RELEASED:
            return False
        del self.lent[lent.name.seq]
        if lent.name.delivery > 1:
            self.redelivered[lent.name.seq] = lent.name.delivery
        return True

    def release(self, text: str) -> bool:
        """Give the lease back; again is a no-op. False if it moved on or is unknown."""
        lent = self._lent(text)
        if lent is not None:
            lent.deadline = _RELEASED
        return lent is not None

    def release_all(self, consumer: str) -> None:
        """Give back all that a consumer holds."""
        for lent in self.lent.values():
            if lent.name.consumer == consumer:
                lent.deadline = _RELEASED

    def state(self, entries: int, now: float) -> GroupState:
        """Counts; an entry whose lease is over waits again."""
        expired = len(self._expired(now))
        return GroupState(
            acknowledged=self.delivered - len(self.lent),
            leased=len(self.lent) - expired,
            waiting=entries - self.delivered + expired,
        )

    def settled(self) -> int:
        """Entries at the beginning of the feed that are acknowledged."""
        return min(self.lent, default=self.delivered + 1) - 1

    def _expired(self, now: float) -> list[LeaseId]:
        over = sorted((lent.deadline, lent.name) for lent in self.lent.values() if lent.deadline <= now)
        return [name for _, name in over]

    def _lent(self, text: str) -> _Lent | None:
        """The lease in force under this id."""
        name = lease_id.parse(text)
        lent = self.lent.get(name.seq) if name else None
        return lent if lent and lent.name == name else None

    def _acked(self, text: str) -> bool:
        name = lease_id.parse(text)
        if name is None or name.epoch != self.epoch or name.seq > self.delivered or name.seq in self.lent:
            return False
        return self.redelivered.get(name.seq, 1) == name.delivery
