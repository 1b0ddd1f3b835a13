"""What a replica may be trusted with, by what became of its branches: a table, kept by name over all its lives."""

from dataclasses import dataclass, field

from treeroll.tree.node import Kind


class Standing(Kind):
    """How much work a replica gets."""

    READY = "ready"
    SUSPECT = "suspect"  # one branch at a time
    QUARANTINED = "quarantined"  # none, until its rest is over


class Sign(Kind):
    """What speaks for or against a replica."""

    DOUBT = "doubt"  # too many of its branches failed, or none of them gets on
    FAULT = "fault"  # it reported what cannot be
    PASSED = "passed"  # so many branches ended well that it is like the others again
    RESTED = "rested"  # its rest is over


S, E = Standing, Sign
HEALTH_TABLE: dict[tuple[Standing, Sign], Standing] = {
    (S.READY, E.DOUBT): S.SUSPECT,
    (S.READY, E.FAULT): S.QUARANTINED,
    (S.SUSPECT, E.DOUBT): S.QUARANTINED,
    (S.SUSPECT, E.FAULT): S.QUARANTINED,
    (S.SUSPECT, E.PASSED): S.READY,
    (S.QUARANTINED, E.DOUBT): S.QUARANTINED,
    (S.QUARANTINED, E.FAULT): S.QUARANTINED,
    (S.QUARANTINED, E.RESTED): S.SUSPECT,
}

# Trees whose branches failed on it one after another, or of the last WINDOW branches so many, make a replica suspect;
# so many branches in a row that ended well clear it.
IN_A_ROW, WINDOW, OF_WINDOW = 3, 50, 10
# Seconds of a rest: the first, the second, and every further one before the replica is ready again.
RESTS_S = (60.0, 120.0, 240.0)


@dataclass(slots=True)
class Health:
    """A replica's standing, why it is not ready, and what it is judged by.

    A tree counts once, however many of its branches fail: one that no engine can grow must not cost a replica its
    standing. `failed` has the trees of the last WINDOW ends, with the number of the end.
    """

    standing: Standing = Standing.READY
    reason: str = ""
    until: float = 0.0  # end of its rest, on the clock of `now`
    rests: int = 0
    ends: int = 0
    good: int = 0  # ends in a row that were good
    row: int = 0  # trees in a row that failed
    failed: dict[str, int] = field(default_factory=dict)

    def ended_well(self) -> bool:
        """A branch did what it should. Returns whether that is the sign that the replica has PASSED."""
        self.ends, self.good, self.row = self.ends + 1, self.good + 1, 0
        return self.standing is Standing.SUSPECT and self.good >= IN_A_ROW

    def ended_badly(self, tree_id: str) -> bool:
        """A branch failed. Returns whether that is a sign of DOUBT: for a suspect, one more tree is."""
        self.ends, self.good = self.ends + 1, 0
        before = self.failed.pop(tree_id, None)
        self.failed[tree_id] = self.ends
        while (oldest := next(iter(self.failed))) and self.failed[oldest] <= self.ends - WINDOW:
            del self.failed[oldest]
        if before is not None and before > self.ends - WINDOW:
            return False
        self.row += 1
        return self.standing is Standing.SUSPECT or self.row >= IN_A_ROW or len(self.failed) > OF_WINDOW

    def take(self, sign: Sign, reason: str, now: float) -> None:
        """Move along the table; a rest begins where that leads to quarantine, later ones are longer."""
        before, self.standing = self.standing, HEALTH_TABLE[self.standing, sign]
        if sign is Sign.RESTED:
            return
        self.reason = reason
        if self.standing is Standing.READY:
            self.rests, self.row = 0, 0
            self.failed.clear()
        elif self.standing is Standing.QUARANTINED and (before is not self.standing or sign is Sign.FAULT):
            self.until = now + RESTS_S[min(self.rests, len(RESTS_S) - 1)]
            self.rests += 1
        self.good = 0
