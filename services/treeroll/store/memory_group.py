"""One consumer group over a feed, in memory: cursor, leases and acknowledgements. Pure; the caller brings the time."""

import math
from dataclasses import dataclass, field

from treeroll.store import lease_id
from treeroll.store.base import GroupState
from treeroll.store.lease_id import LeaseId

# Deadline of a lease that was given back: over, whatever the time.
_RELEASED = -math.inf


@dataclass(slots=True)
class _Lent:
    name: LeaseId
    deadline: float  # seconds


@dataclass(slots=True)
class MemoryGroup:
    """Who holds which entries of a feed."""

    delivered: int = 0  # entries handed out at least once
    lent: dict[int, _Lent] = field(default_factory=dict)  # by seq
    redelivered: dict[int, int] = field(
        default_factory=dict
    )  # seq -> delivery acknowledged, where it was not the first

    def lend(self, entries: int, consumer: str, count: int, now: float, lease_s: float) -> list[LeaseId]:
        """Lend up to `count` of a feed of `entries`: first those whose time is over, oldest deadline first."""
        names = [LeaseId(old.seq, old.delivery + 1, consumer) for old in self._expired(now)[:count]]
        upto = min(entries, self.delivered + count - len(names))
        names += [LeaseId(seq, 1, consumer) for seq in range(self.delivered + 1, upto + 1)]
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
        if name is None or name.seq > self.delivered or name.seq in self.lent:
            return False
        return self.redelivered.get(name.seq, 1) == name.delivery
