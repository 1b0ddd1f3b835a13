"""What can happen to the coordinator. Events are data; the shell makes them from messages, calls and clocks."""

from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from treeroll.core.model.fleet import Drain
from treeroll.core.model.pool_model import UNKNOWN, PoolModel
from treeroll.core.model.run import RunSpec, TaskSpec
from treeroll.core.model.weights import WeightsAnswer
from treeroll.tree.node import Kind


class LossKind(Kind):
    """How a replica went. Only deaths count against it, or against what grew on it."""

    DIED = "died"  # or fell silent, or could not do what it must
    FAULTY = "faulty"  # it reported what cannot be
    LEFT = "left"  # it said goodbye, or its fleet did
    DRAINED = "drained"  # it was told to end, and has ended; or its time for that was over
    PREEMPTED = "preempted"  # its machine was taken away, whether it had ended before or not


class EndKind(Kind):
    """How the replica says a branch ended. Mirrors EndReason of replica.proto."""

    EOS = "eos"
    STOP = "stop"
    LENGTH = "length"
    STOPPED = "stopped"
    CREDIT = "credit"
    HOLD = "hold"
    ERROR = "error"


@dataclass(slots=True)
class RunCreated:
    """A client created a run (or attaches to an equal one). `wall`: the time in seconds since the Unix epoch."""

    spec: RunSpec
    wall: float = 0.0


@dataclass(slots=True)
class TasksSubmitted:
    """A client added tasks; all are validated and tokenised."""

    run_id: str
    tasks: list[TaskSpec]


@dataclass(slots=True)
class RunClosed:
    """No more tasks will come."""

    run_id: str


@dataclass(slots=True)
class RunCancelled:
    """Stop growing."""

    run_id: str


@dataclass(slots=True)
class GroupHeard:
    """A consumer group asked, renewed or acknowledged: how far it has come in the run's feed, see `Standing`."""

    run_id: str
    group: str
    delivered: int
    pending: tuple[int, ...]


@dataclass(slots=True)
class TreesAsked:
    """Somebody waits for these trees of the run by name. Those that are none of it, or have ended, are no error."""

    run_id: str
    tree_ids: list[str]


@dataclass(slots=True)
class TreesWithheld:
    """Trees of the run were delivered without their samples, because they are too old."""

    run_id: str
    tree_ids: list[str]


@dataclass(slots=True)
class RunDeleted:
    """Forget a run that has ended."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A replica says what a grant is for that an earlier coordinator gave it.

    The path of the first node that the grant makes, which attempt at its branch it is, and how many tokens the replica
    was given before that: the same ones as the branch has, as far as the shell can tell. `stopped`: it was told to
    stop.
    """

    grant: int
    tree_id: str
    branch: str
    attempt: int
    prefix_tokens: int
    stopped: bool = False


@dataclass(slots=True)
class ReplicaJoined:
    """A replica said Hello. `slots` is how many branches it decodes at once.

    `live_grants` are the grants it is still serving or has unacknowledged reports of (after a reconnect), `kept_trees`
    the trees whose sequences it keeps. `model` names its pool, `serves` says what that is to be. `weight_version` is
    what it has loaded, 0 the model as it was started with. `returns`: it is the session that the last coordinator had,
    and `claims` are what its live grants are for. `drain`: an earlier coordinator has told it to end.
    """

    replica_id: str
    incarnation: int
    slots: int
    block_size: int
    max_model_len: int
    live_grants: frozenset[int] = frozenset()
    kept_trees: frozenset[str] = frozenset()
    model: str = ""
    weight_version: int = 0
    weight_digest: str = ""
    returns: bool = False
    claims: tuple[Claim, ...] = ()
    drain: Drain | None = None
    serves: PoolModel = UNKNOWN


@dataclass(slots=True)
class ReplicaHeard:
    """A heartbeat."""

    replica_id: str
    incarnation: int
    kv_usage: float
    generated: int = 0  # tokens so far, as it says; what is less than before says nothing


@dataclass(slots=True)
class ReplicaLost:
    """A replica died, fell silent for longer than its lease, or left."""

    replica_id: str
    incarnation: int
    cause: str
    kind: LossKind = LossKind.DIED


@dataclass(slots=True)
class ReplicaDraining:
    """A replica is to end, and may end before that what it runs. Said again, an earlier deadline counts."""

    replica_id: str
    incarnation: int
    drain: Drain


@dataclass(slots=True)
class ReplicaFaulted:
    """A replica said of a grant (0: of none) what cannot be: nothing that it says can be relied on."""

    replica_id: str
    incarnation: int
    cause: str
    grant: int = 0


@dataclass(slots=True)
class WeightsPublished:
    """A trainer has new weights for a pool: a directory, and its content's digest or "". `wall` as in RunCreated."""

    pool: str
    version: int
    path: str
    digest: str = ""
    wall: float = 0.0


@dataclass(slots=True)
class WeightsReported:
    """A replica answers an order to stage weights or to take them into use."""

    replica_id: str
    incarnation: int
    version: int
    answer: WeightsAnswer
    digest: str = ""
    seconds: float = 0.0
    error: str = ""


class SegmentReported(Struct, gc=False):
    """One segment of a branch, and possibly the branch's end.

    `tail` is the completion text before it, as far as a finish test may look back; it is read on the first segment of a
    branch only. `payload` is whatever the shell needs to write the node's record; the core only hands it on.

    A Struct because it takes a third of the time to make; as with Node, it must never be part of a cycle.
    """

    replica_id: str
    incarnation: int
    grant: int
    n_tokens: int
    logprob_sum: float = 0.0
    logprob_min: float = 0.0
    text: str = ""
    tail: str = ""
    payload: Any = None
    cached_tokens: int | None = None
    end: EndKind | None = None
    dropped_tokens: int = 0
    error: str = ""
    cuts: bool = False  # it says where in its parent's text it begins


@dataclass(slots=True)
class LeafScored:
    """A scorer is done with a leaf: a value, an error and no value, or nothing to say."""

    tree_id: str
    node: int
    value: float | None
    error: str = ""
    abstained: bool = False


@dataclass(slots=True)
class PathJudged:
    """The judge is done with a held path: a value, an error and no value, or nothing to say."""

    tree_id: str
    node: int
    value: float | None
    error: str = ""
    abstained: bool = False


@dataclass(slots=True)
class Drained:
    """Admit no new trees."""


@dataclass(slots=True)
class Undrained:
    """Admit new trees again."""


@dataclass(slots=True)
class StoreFilled:
    """The store is almost full, so that no new trees may begin, or it has room again."""

    full: bool


@dataclass(slots=True)
class Ticked:
    """Time passed: leases may have run out."""

    anew: bool = False
    """The service itself was held up since the last one: that replicas made no token says nothing of them."""


@dataclass(slots=True)
class AlarmRang:
    """A time has come at which the core wanted to be woken (`step.alarm`). It says nothing of leases."""


Event = (
    RunCreated
    | TasksSubmitted
    | RunClosed
    | RunCancelled
    | RunDeleted
    | GroupHeard
    | TreesAsked
    | TreesWithheld
    | ReplicaJoined
    | ReplicaHeard
    | ReplicaLost
    | ReplicaDraining
    | ReplicaFaulted
    | WeightsPublished
    | WeightsReported
    | SegmentReported
    | LeafScored
    | PathJudged
    | Drained
    | Undrained
    | StoreFilled
    | Ticked
    | AlarmRang
)
