"""A tree while it grows: nodes, branches, account, and what is still owed before it can end."""

from dataclasses import dataclass, field
from enum import StrEnum

from treeroll.core.model.branch import Branch
from treeroll.core.model.ledger import Ledger
from treeroll.core.model.run import Run, TaskSpec
from treeroll.core.model.token_bucket import Bucket
from treeroll.errors import PolicyFailed
from treeroll.policy.base import Expansion, Growth
from treeroll.tree.tree import Tree
from treeroll.why import Why


class TreeStatus(StrEnum):
    """What the record says about a tree."""

    WAITING = "waiting"  # its task has no place yet
    GROWING = "growing"
    COMPLETE = "complete"
    PARTIAL = "partial"  # cut by cancel, budget or deadline, with complete leaves
    FAILED = "failed"  # ended without a complete leaf
    FILTERED = "filtered"  # has complete leaves, but its run drops it


class NotGrown(Growth):
    """The growth of a tree that does not grow."""

    def start(self, tree: Tree) -> list[Expansion]:
        """No branches."""
        return []


NOT_GROWN = NotGrown()


@dataclass(slots=True)
class Credit:
    """Credit of one leaf; `advantages` has one entry per path node, and is empty without a reward."""

    leaf: int
    path_weight: float
    advantages: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PathEnd:
    """Nothing goes on at a node that is no leaf: its policy let it end, or its branch was cut."""

    node: int
    why: Why


# Of one tree are kept; the first say enough.
MOST_PATH_ENDS = 256


@dataclass(slots=True)
class LiveTree:
    """One growing tree."""

    run: Run
    task: TaskSpec
    tree: Tree
    # Order of admission, 1, 2, 3 ..., and the replica that the tree's first branches go to.
    admitted: int = 0
    home: str = ""
    # What its branch policy remembers of it, and the most leaves that this makes.
    growth: Growth = NOT_GROWN
    most_leaves: int = 0
    # Total lengths where segments end, for depth 1, 2, ...
    boundaries: list[int] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    # Where its grants reserve tokens: its own ledger, its run's, and what else its run's budget asks for.
    accounts: tuple[Ledger | Bucket, ...] = ()
    # Branches that are not done, by number, and how many there ever were.
    branches: dict[int, Branch] = field(default_factory=dict)
    started: int = 0
    # (replica, incarnation) -> the first grant of this tree that it got: it keeps the tree's sequences.
    served: dict[tuple[str, int], int] = field(default_factory=dict)
    # Numbers of branches by state that keeps the tree alive.
    active: int = 0  # PENDING, RUNNING or STOPPING
    held: dict[int, int] = field(default_factory=dict)  # node -> branch number
    judging: int = 0  # held nodes that the policy has not seen yet, because the judge has not
    status: TreeStatus = TreeStatus.GROWING
    # Weights of its pool when it started: no token of its model is of older ones. And those that were in force when
    # others first came while it had nodes: its oldest token is of these, or of older ones.
    weight_version: int = 0
    sampled_by: int | None = None
    # Why branches of it were cut: "" while whole; then "cancelled", "deadline", "budget", "lost" or "stale".
    stop_reason: str = ""
    error: str = ""
    ending: tuple[str, str] | None = None  # the same two of what cuts it if its policy goes on; every path has ended
    n_censored: int = 0
    faults: int = 0  # reports of it that could not be
    failure: PolicyFailed | None = None  # the first that one of its policies raised: it ends
    charge: float = 0.0  # what its run was charged when it started
    recomputed: int = 0  # tokens of prefixes that had been computed before
    promised: float = 0.0  # what it was expected to take of its model, see core.routing
    planted_at: float = 0.0  # seconds on the clock of `now`
    ended_at: float = 0.0
    lost_tokens_max: int = 0
    # Its part of its run's counters of the same names; the last two once it has ended.
    late_tokens: int = 0
    dropped_tokens: int = 0
    pruned_tokens: int = 0
    censored_tokens: int = 0
    abstained: set[int] = field(default_factory=set)  # leaves of which the scorer says nothing
    grown: bool = False  # no branch will start any more
    credit: list[Credit] = field(default_factory=list)  # of its leaves, once it has ended
    dropped_by: str = ""  # the filter
    placed: bool = False  # it holds one of its run's places, see `Pace`
    asked: bool = False  # somebody waits for it by name
    first_grant: int = 0  # no grant below it was for this growth of the tree
    # Seconds that its held paths wait, None: as long as it takes; until when they do (on the clock of `now`); a timer
    # is set.
    timeout_s: float | None = None
    times_out_at: float | None = None
    timed: bool = False
    path_ends: list[PathEnd] = field(default_factory=list)

    def note_end(self, end: PathEnd) -> None:
        """For people."""
        if len(self.path_ends) < MOST_PATH_ENDS:
            self.path_ends.append(end)

    @property
    def tree_id(self) -> str:
        """Id of the tree."""
        return self.tree.tree_id

    @property
    def scored(self) -> bool:
        """Every leaf has the outcome this run waits for."""
        return not self.run.spec.scores_here or len(self.tree.rewards) == len(self.tree.leaves)
