"""What a strike cost, in figures, and whether that is what is promised."""

from collections.abc import Iterator
from dataclasses import dataclass

from treeroll.chaos.ordeal import Outcome, Struck
from treeroll.chaos.watch import longest_stall_s, regranted_s, tokens_per_s, went_on_s

# Others' throughput is compared with that before the strike, from here on: all slots are taken then.
SETTLE_S = 1.0
# No figures are taken of windows in which replicas spoke less often than this many times.
SHORTEST_S = 4.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one strike."""

    stall_s: float
    """Longest time in which no token became durable, from the beginning of the strike to the end of the run."""
    recovery_s: float | None
    """From the end of the fault to the next durable tokens; None if none came, as when all had been done."""
    regranted_s: float | None
    """From the beginning of the fault until the first branches were granted again; None if none were."""
    share: float | None
    """Tokens a second of the replicas that it did not befall, meanwhile and before; None where that says nothing."""

    @classmethod
    def of(cls, outcome: Outcome, struck: Struck) -> "Measured":
        """Take them from a run's samples."""
        samples = outcome.samples
        others = [name for name in outcome.replicas if name not in struck.victims]
        share = None
        if struck.victims and struck.ends_s - struck.began_s >= SHORTEST_S:
            before = tokens_per_s(samples, others, outcome.warm_s + SETTLE_S, struck.began_s)
            during = tokens_per_s(samples, others, struck.began_s, struck.ends_s)
            share = during / before if before else None
        return cls(
            longest_stall_s(outcome.durable, struck.began_s, outcome.ended_s),
            went_on_s(outcome.durable, struck.ends_s, struck.healed_s),
            regranted_s(samples, struck.began_s),
            share,
        )

    def text(self) -> str:
        """For people."""
        went_on = "-" if self.recovery_s is None else f"{self.recovery_s:.2f} s"
        regranted = "" if self.regranted_s is None else f", granted again after {self.regranted_s:.1f} s"
        others = "" if self.share is None else f", others {self.share:.2f} x"
        return f"stall {self.stall_s:.1f} s, went on {went_on} after its end{regranted}{others}"


@dataclass(frozen=True, slots=True)
class Promise:
    """What is promised of a fault beyond that nothing is lost, doubled or different, and no task fails."""

    recovery_s: float | None = None
    """Most seconds from its end to the next tokens."""
    stall_s: float | None = None
    """Longest pause of the run."""
    regrants: int | None = None
    """Most branches that are granted again."""
    regranted_s: float | None = None
    """Most seconds until its branches are granted again."""
    share: float | None = None
    """Least throughput of the other replicas, of theirs before."""
    lives: int | None = None
    """Most replicas' processes, and so engines, that are started anew."""

    def text(self) -> str:
        """For people."""
        return ", ".join(self._parts()) or "-"

    def _parts(self) -> Iterator[str]:
        if self.recovery_s is not None:
            yield f"recovery <= {self.recovery_s:g} s"
        if self.stall_s is not None:
            yield f"stall <= {self.stall_s:g} s"
        if self.regrants is not None:
            yield f"{self.regrants} re-grants"
        if self.regranted_s is not None:
            yield f"re-granted <= {self.regranted_s:g} s"
        if self.share is not None:
            yield f"others >= {self.share:g} x"
        if self.lives is not None:
            yield f"{self.lives} engines started anew"

    def missed(self, outcome: Outcome, found: Measured) -> Iterator[str]:
        """What was not kept, with the figure."""
        if self.recovery_s is not None and (found.recovery_s is None or found.recovery_s > self.recovery_s):
            yield "no tokens after it" if found.recovery_s is None else f"recovery {found.recovery_s:.2f} s"
        if self.stall_s is not None and found.stall_s > self.stall_s:
            yield f"stall {found.stall_s:.1f} s"
        if self.regrants is not None and outcome.regrants > self.regrants:
            yield f"{outcome.regrants} re-grants"
        if self.regranted_s is not None and (found.regranted_s is None or found.regranted_s > self.regranted_s):
            yield "no re-grants" if found.regranted_s is None else f"re-granted after {found.regranted_s:.1f} s"
        if self.share is not None and (found.share is None or found.share < self.share):
            yield "others' throughput unknown" if found.share is None else f"others {found.share:.2f} x"
        if self.lives is not None and outcome.lives > self.lives:
            yield f"{outcome.lives} engines started anew"
