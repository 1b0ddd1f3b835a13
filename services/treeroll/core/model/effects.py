"""What the core asks the shell to do: data, carried out only after the state it follows from is durable."""

from dataclasses import dataclass

from msgspec import Struct

from treeroll.core.model.events import LossKind, SegmentReported
from treeroll.core.model.fleet import Drain
from treeroll.core.model.health import Standing
from treeroll.core.model.journal import Carried, Entry
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.pool import Pool
from treeroll.core.model.run import Run, TaskSpec
from treeroll.core.model.weights import Weights
from treeroll.policy.base import Delimiter
from treeroll.tree.node import Node, Observation
from treeroll.why import Why


@dataclass(slots=True)
class PersistRun:
    """The run's record changed."""

    run: Run


@dataclass(slots=True)
class PersistTasks:
    """New tasks; each needs a tree header and an entry in the run's task index."""

    run: Run
    tasks: list[TaskSpec]


class PersistNode(Struct, gc=False):
    """A node is final; `report` brought it. A Struct as SegmentReported is.

    `waited_s` and `masked_by` are those of its branch when that was granted. `why` the branch was started, if this is
    its first node; `ended_by` is the test that ended its path.
    """

    live: LiveTree
    node: Node
    report: SegmentReported
    waited_s: float = 0.0
    masked_by: str = ""
    why: Why | None = None
    ended_by: Why | None = None


@dataclass(slots=True)
class PersistTree:
    """The tree's header changed (status, ledger)."""

    live: LiveTree


@dataclass(slots=True)
class PersistEntry:
    """The tree changed otherwise than by a node; so many nodes it had then."""

    live: LiveTree
    entry: Entry
    nodes: int

    @classmethod
    def of(cls, live: LiveTree, entry: Entry) -> "PersistEntry":
        """An entry about the tree as it is now."""
        return cls(live, entry, len(live.tree.nodes))


@dataclass(slots=True)
class PersistAnew:
    """The task's tree is to grow anew: nothing of what is stored of it counts but what it spent."""

    run: Run
    task: TaskSpec
    entry: Carried


@dataclass(slots=True)
class PersistReward:
    """A leaf has a reward by the run's scorer, or a held node one by its judge, or an error instead of one."""

    live: LiveTree
    node: int
    scorer: str
    value: float | None
    error: str


@dataclass(slots=True)
class PersistHistory:
    """How often a task has succeeded so far, as `history.Record` writes it."""

    run: Run
    task_id: str
    record: str


@dataclass(slots=True)
class PersistMemory:
    """A part of what a run's policies and books remember is another: see `core.recovery.memories`."""

    run: Run
    part: str
    value: str
    """As JSON."""


@dataclass(slots=True)
class PersistWeights:
    """The pool has other weights, or others are on their way, or no more."""

    pool: Pool


@dataclass(slots=True)
class EmitTree:
    """The tree ended: write its credit and append it to the run's feed. Every task gets exactly one."""

    live: LiveTree


@dataclass(slots=True)
class StartBranch:
    """Start an engine request after a prefix of `prefix_tokens` tokens, and `inserted` ones that are in no node yet.

    `boundaries` are absolute, from there on.

    The prefix is one of: the beginning of what the replica has of `prefix_grant`, and behind it `prefix_ids` (int32
    little-endian, `prefix_tail` their text) if a tool added some; `prefix_ids` (the prompt); the prompt and the nodes
    `stored`, from depth 1 down, which the shell reads from the store. Each of these goes as far as the next begins.
    `cut_from` is where the segment that the prefix ends inside of begins, 0 if it ends with a whole one. `temperature`
    is the branch's own; None: the run's. `model` is the replica's pool. `branch` is the path of the first node that
    the grant makes, the name of the branch for coordinators to come, and `attempt` which attempt at it this is.
    `waited_s` and `masked_by` say how long it had waited, and for which account, see Branch.
    """

    replica_id: str
    incarnation: int
    grant: int
    run: Run
    tree_id: str
    prefix_tokens: int
    cut_from: int
    prefix_grant: int
    prefix_ids: bytes
    prefix_tail: str
    stored: tuple[int, ...]
    prompt_tokens: int
    boundaries: list[int]
    hold: bool
    seed: int
    priority: int
    delimiter: Delimiter | None = None
    temperature: float | None = None
    inserted: Observation | None = None
    model: str = ""
    branch: str = ""
    attempt: int = 1
    waited_s: float = 0.0
    masked_by: str = ""


@dataclass(slots=True)
class PersistModel:
    """The pool serves another model than before, or its first."""

    pool: Pool


@dataclass(slots=True)
class Command:
    """Something else to tell a replica."""

    replica_id: str
    incarnation: int


@dataclass(slots=True)
class StopBranch(Command):
    """End an engine request."""

    grant: int


@dataclass(slots=True)
class ForgetTree(Command):
    """The tree ended: the replica need not keep its sequences any more."""

    tree_id: str


@dataclass(slots=True)
class StageWeights(Command):
    """Check these weights and have them at hand, while decoding goes on."""

    weights: Weights


@dataclass(slots=True)
class FlipWeights(Command):
    """Take the staged version into use; `recompute`: running requests compute their KV again."""

    version: int
    recompute: bool


@dataclass(slots=True)
class DrainReplica(Command):
    """End what runs, take nothing more, and leave."""

    drain: Drain


@dataclass(slots=True)
class DropReplica:
    """The replica lost its lease: end its session, so that it learns and comes back as a new incarnation.

    `superseded`: it is there already.
    """

    replica_id: str
    incarnation: int
    cause: str
    kind: LossKind = LossKind.DIED
    superseded: bool = False


@dataclass(slots=True)
class ReplicaJudged:
    """The replica's standing is another: somebody may want to know."""

    replica_id: str
    standing: Standing
    reason: str


@dataclass(slots=True)
class ScoreLeaf:
    """Ask the scorer pool for a leaf's reward."""

    live: LiveTree
    node: int


@dataclass(slots=True)
class JudgePath:
    """Ask the scorer pool what the run's judge says of a path that is held at a node."""

    live: LiveTree
    node: int


class Told(Struct, gc=False):
    """Something was decided of a tree that no other effect says, for people: only where `CoreSettings.tells`.

    `what` is "forked", "masked" or "let_end"; `path` that of the branch's next node, or of the node.
    """

    what: str
    live: LiveTree
    path: str
    why: Why | None
    reason: str = ""


Effect = (
    PersistRun
    | PersistTasks
    | PersistNode
    | PersistEntry
    | PersistAnew
    | PersistTree
    | PersistReward
    | PersistHistory
    | PersistMemory
    | PersistWeights
    | PersistModel
    | EmitTree
    | StartBranch
    | Command
    | DropReplica
    | ReplicaJudged
    | ScoreLeaf
    | JudgePath
    | Told
)
