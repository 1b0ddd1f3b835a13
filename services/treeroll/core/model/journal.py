"""What becomes of a growing tree beside its nodes: with these and with them, it can be grown again as it was.

An event that changes a growing tree emits a node, a reward or an entry. Entries are in the order of what they tell;
the store keeps them until the tree has left.
"""

from dataclasses import dataclass

from treeroll.core.model.events import EndKind
from treeroll.policy.allocate import TaskView
from treeroll.why import Why


@dataclass(frozen=True, slots=True)
class Planted:
    """The tree started. It is what its run and the pool of its model gave it then.

    `block_size` and `max_model_len` are of the replicas there: with them boundaries are found. `at` is in seconds on
    the clock of `now`. The others are as in `LiveTree`, and `leaves`, `view` and `allotted_by` as in its task.
    """

    admitted: int
    home: str
    model: str
    block_size: int
    max_model_len: int
    at: float
    weight_version: int = 0
    charge: float = 0.0
    promised: float = 0.0
    placed: bool = False
    asked: bool = False
    leaves: int = 0
    view: TaskView | None = None
    first_grant: int = 0
    allotted_by: Why | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """A replica reported of a branch what made no node: tokens that do not count, the end of its grant, or both."""

    branch: int
    tokens: int
    end: EndKind | None = None
    replica_id: str = ""  # of one that ended with an error


@dataclass(frozen=True, slots=True)
class Lost:
    """A grant of a branch was lost with its replica, or taken from it: then `refused` is its name."""

    branch: int
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """A branch that waited was ended."""

    branch: int
    reason: str
    error: str
    why: Why | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """All branches were told to end. `waiting` are those that no replica served, and that ended at once."""

    reason: str
    error: str
    waiting: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """Nothing ran, and the policy was asked how to go on."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """Held paths had waited for long enough, and the policy was asked how to go on."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The judge was done with a held path, which the policy saw then. `value` is what it said, None for nothing."""

    node: int
    value: float | None


@dataclass(frozen=True, slots=True)
class Abstained:
    """The scorer had nothing to say of a leaf."""

    leaf: int


@dataclass(frozen=True, slots=True)
class Faulted:
    """A report of the tree could not be."""


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Other weights came into force, and the tree had nodes: its oldest token is of these, or of older ones."""

    version: int


@dataclass(frozen=True, slots=True)
class Carried:
    """The tree was grown before, to no end, and is to grow anew: what it spent then."""

    tokens: int


Entry = Planted | Reported | Lost | Cut | Ended | Asked | TimedOut | Judged | Abstained | Faulted | Overtaken | Carried
