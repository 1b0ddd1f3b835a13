"""How many trees per second a trainer can consume, and whether they are fresh enough for it: more replicas than that
grow trees for nothing.

Two inequalities, ours, after the idea of ECHO-2:

    (i)   mu (1 - w) >= R / (T - p / k)     as many trees as the trainer takes
    (ii)  D + L + Q / mu <= (S - k) T       none older than it allows
"""

import math
from dataclasses import dataclass
from enum import StrEnum


class Inequality(StrEnum):
    """Which of the two asks for more trees per second."""

    RATE = "rate"
    STALENESS = "staleness"


@dataclass(frozen=True, slots=True)
class Trainer:
    """An attached trainer, and the trees on their way to it."""

    step_s: float
    """T: of one step, in which it waits for no tree."""
    trees: float
    """R: that it takes per step."""
    rate: float
    """mu: trees per second that end now."""
    every: int = 1
    """k: steps between two publications of weights."""
    flip_s: float = 0.0
    """D: from a publication until the last replica has the weights."""
    latency_s: float = 0.0
    """L: of a tree from its start to its end, the 99th percentile."""
    queued: float = 0.0
    """Q: trees that have ended and wait for it."""
    waste: float = 0.0
    """w: share of trees that end without a sample."""
    pause_s: float = 0.0
    """p: for which decoding stops with a publication."""
    staleness: int | None = None
    """S: most steps that the weights of a tree may be behind; None: no bound."""

    @property
    def rate_needed(self) -> float:
        """The least mu for which (i) holds, trees per second."""
        working_s = self.step_s - self.pause_s / self.every
        return self.trees / working_s / (1.0 - self.waste) if working_s > 0.0 and self.waste < 1.0 else math.inf

    @property
    def keeps_up(self) -> bool:
        """(i)."""
        return self.rate >= self.rate_needed

    @property
    def age_s(self) -> float:
        """Of a tree's weights when the trainer gets it: the left side of (ii)."""
        return self.flip_s + self.latency_s + (self.queued / self.rate if self.queued else 0.0)

    @property
    def allowed_s(self) -> float:
        """The right side of (ii)."""
        return math.inf if self.staleness is None else (self.staleness - self.every) * self.step_s

    @property
    def is_fresh(self) -> bool:
        """(ii)."""
        return self.age_s <= self.allowed_s

    @property
    def staleness_needed(self) -> int:
        """The least S for which (ii) holds."""
        return self.every + math.ceil(self.age_s / self.step_s)


@dataclass(frozen=True, slots=True)
class Cap:
    """More replicas than this do not help a trainer."""

    size: int
    binds: Inequality
    because: str
    """A sentence without a full stop."""


def cap(trainer: Trainer, replicas: int) -> Cap | None:
    """The fewest replicas for which both inequalities hold, where so many as `replicas` give its rate; for (i) alone,
    where no number of them helps (ii). None: nothing ends, so nobody can say."""
    if trainer.rate <= 0.0 or replicas <= 0 or math.isinf(trainer.rate_needed):
        return None
    rate, binds = trainer.rate_needed, Inequality.RATE
    because = f"the trainer takes {trainer.rate_needed:.3g} trees/s, and {replicas} replicas give {trainer.rate:.3g}"
    slack_s = trainer.allowed_s - trainer.flip_s - trainer.latency_s
    if slack_s <= 0.0:
        binds = Inequality.STALENESS
        because = (
            f"weights take {trainer.flip_s:.0f} s and trees {trainer.latency_s:.0f} s, of {trainer.allowed_s:.0f} s "
            "that max_staleness allows: no fleet is large enough for that"
        )
    elif trainer.queued / slack_s > rate:
        rate, binds = trainer.queued / slack_s, Inequality.STALENESS
        because = (
            f"{trainer.queued:.0f} trees wait, {trainer.age_s:.0f} s behind their weights, of {trainer.allowed_s:.0f} "
            "s that max_staleness allows"
        )
    return Cap(math.ceil(rate * replicas / trainer.rate - 1e-9), binds, because)
