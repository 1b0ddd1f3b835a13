"""What a coordinator found in its store when it started, for people."""

from dataclasses import dataclass, field

from treeroll.coordinator.lost_work import Losses


@dataclass(slots=True)
class Recovered:
    """`suspended`: runs that it cannot go on with; `damaged`: trees that grow anew; each with the reason.

    `owners`: of suspended runs. `expired`: trees at the beginning of each run's feed that are gone. `lost`: what
    earlier coordinators of this process had, and their store has forgotten. `adopted`: branches that replicas had gone
    on with, and go on with since.
    """

    runs: int = 0
    trees: int = 0
    nodes: int = 0
    adopted: int = 0
    seconds: float = 0.0
    suspended: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    expired: dict[str, int] = field(default_factory=dict)
    lost: Losses = field(default_factory=Losses)
