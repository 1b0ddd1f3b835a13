"""Weights of a pool: the version in force, the one on its way, and what every replica has been told and has."""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

# Publications that a pool remembers once they have ended.
REMEMBERED = 64


class Phase(StrEnum):
    """Where a publication stands."""

    STAGING = "staging"  # replicas check it, and go on decoding
    WAITING = "waiting"  # all have it at hand; trees of runs that finish first still grow
    FLIPPING = "flipping"  # it is in force: replicas take it into use, and get no work before they have
    DONE = "done"  # every replica that was ready when it came into force has it
    REFUSED = "refused"  # nothing has changed


class WeightsAnswer(StrEnum):
    """What a replica says of an order. Mirrors WeightsState of replica.proto."""

    STAGED = "staged"
    LOADED = "loaded"
    REFUSED = "refused"


class OnUpdate(StrEnum):
    """What becomes of a run's growing trees when their pool gets other weights."""

    CONTINUE = "continue"
    RECOMPUTE = "recompute"
    STOP = "stop"
    FINISH_FIRST = "finish_first"


@dataclass(frozen=True, slots=True)
class Weights:
    """A version and where it is. Version 0 is the model as its replicas were started with; it has no directory."""

    version: int = 0
    path: str = ""
    digest: str = ""  # of the directory's content; "" while nobody has said it


@dataclass(slots=True)
class Publication:
    """A version on its way, or one that has ended. `since` and `started` are seconds on the clock of `now`."""

    weights: Weights
    published_at: float  # seconds since the Unix epoch
    started: float
    since: float  # when its phase began
    phase: Phase = Phase.STAGING
    seconds: float = 0.0  # from its start to its end
    error: str = ""  # why it was refused, one sentence
    recompute: bool = False  # a run wants the KV of running requests computed again
    awaited: set[str] = field(default_factory=set)  # trees that have to end first
    # Replicas that were ready when it came into force, by name and incarnation: it is done when they have it.
    loading: set[tuple[str, int]] = field(default_factory=set)


@dataclass(slots=True)
class Order:
    """What a replica was told, and has not answered."""

    weights: Weights
    flip: bool
    at: float  # seconds on the clock of `now`
    void: bool = False  # its answer does not count any more


@dataclass(slots=True)
class Holding:
    """What one replica holds, as far as it has said."""

    loaded: Weights = field(default_factory=Weights)
    staged: Weights | None = None
    order: Order | None = None
    since: float = 0.0  # when `loaded` was loaded, or else the replica came, seconds on the clock of `now`
    seconds: float = 0.0  # what the last order took
    error: str = ""  # the last refusal


@dataclass(slots=True)
class PoolWeights:
    """`current` is what a replica must have loaded to get work."""

    current: Weights = field(default_factory=Weights)
    publication: Publication | None = None
    history: deque[Publication] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def on_its_way(self, version: int) -> bool:
        """Whether this version may still be refused."""
        publication = self.publication
        return (
            publication is not None
            and publication.weights.version == version
            and publication.phase in (Phase.STAGING, Phase.WAITING)
        )

    def wanted(self, version: int) -> Weights | None:
        """The weights of this version, if replicas are to have them at present."""
        publication = self.publication
        if publication is not None and publication.weights.version == version:
            return publication.weights
        return self.current if self.current.version == version else None
