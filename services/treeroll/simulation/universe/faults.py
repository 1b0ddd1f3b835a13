"""Which faults a world has, and how often: drawn from its seed, so that worlds differ in kind, not only in chance."""

import random
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from pydantic import ConfigDict

# Faults come up to this moment, seconds; what comes after it must end within `ENDS_S`.
UNTIL_S = 25.0
ENDS_S = 240.0


@dataclass(frozen=True, slots=True)
class Faults:
    """Rates are chances at each occasion; 0 is never. Without arguments there are none."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    crashes: int = 0
    """Deaths of coordinators, each before or after an effect, about `crash_every` effects apart."""
    crash_every: int = 60
    pauses: int = 0
    """Coordinators stand still, others take over, and the first ones go on."""
    unanswered: float = 0.0
    """A commit is applied, and its sender learns nothing of it."""
    unapplied: float = 0.0
    """A commit is lost on its way."""
    outages: int = 0
    """Times in which the store refuses everything, seconds long."""
    slow_store: float = 0.0
    """A commit takes seconds."""
    forgotten: int = 0
    """How many of the last commits the store loses, once."""
    emptied: bool = False
    """The store loses all that it has, once."""
    cuts: float = 0.0
    """Calls of replicas are cut, at a message."""
    holds: float = 0.0
    """A message, and all behind it, is held for seconds."""
    requests_lost: float = 0.0
    replies_lost: float = 0.0
    late: float = 0.0
    """A request arrives after its caller gave it up, and asked again."""
    replica_deaths: int = 0
    trainer_deaths: int = 0
    replica_drains: int = 0
    """Replicas are told to end, some of them in less time than they need."""
    wall_jumps: int = 0
    """The machines' clocks are put an hour forward or back."""
    refused_weights: float = 0.0
    """A replica refuses to stage weights, or ends as it takes them into use."""
    slow_scorers: float = 0.0
    """Scorers take long, but not too long."""
    failing_scorers: float = 0.0
    """Scorers say nothing of a path, or of a whole batch."""
    drift: float = 0.0
    """Clocks of coordinators run faster or slower than the world's by up to this share."""
    other_models: bool = False
    """Where a coordinator has taken over, a replica of another model is the first that comes to each pool."""
    damage: bool = False
    """When a coordinator dies, a stored node of a growing tree is not what it was."""

    def without(self, name: str) -> "Faults":
        """The same without one kind."""
        return replace(self, **{name: getattr(Faults(), name)})

    @property
    def kinds(self) -> list[str]:
        """What there is."""
        return [part.name for part in fields(self) if part.name != "crash_every" and getattr(self, part.name)]


def drawn(chance: random.Random) -> Faults:
    """Each kind is there or not."""

    def maybe(value: float, share: float = 0.5) -> float:
        return value if chance.random() < share else 0.0

    return Faults(
        crashes=chance.choice((0, 1, 1, 2, 3)),
        crash_every=chance.choice((20, 60, 120)),
        pauses=chance.choice((0, 0, 0, 1, 2)),
        unanswered=maybe(0.08),
        unapplied=maybe(0.08),
        outages=chance.choice((0, 0, 1, 2)),
        slow_store=maybe(0.04),
        forgotten=chance.choice((0, 0, 0, 0, 1, 4)),
        emptied=chance.random() < 0.1,
        cuts=maybe(0.04),
        holds=maybe(0.04),
        requests_lost=maybe(0.15),
        replies_lost=maybe(0.15),
        late=maybe(0.1),
        replica_deaths=chance.choice((0, 0, 1, 2)),
        trainer_deaths=chance.choice((0, 0, 1, 2)),
        wall_jumps=chance.choice((0, 0, 1, 3)),
        damage=chance.random() < 0.2,
        refused_weights=maybe(0.1, 0.3),
        slow_scorers=maybe(0.1, 0.3),
        failing_scorers=maybe(0.05, 0.1),
        drift=maybe(0.05, 0.3),
        replica_drains=chance.choice((0, 0, 1, 3)),
    )
