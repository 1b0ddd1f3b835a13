"""Runs: a client's configured stream of work, its tasks and its account."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from treeroll.core.model.budget import NO_BUDGET, Budget
from treeroll.core.model.delivery import AS_THEY_COME, DeliveryRules
from treeroll.core.model.history import History
from treeroll.core.model.ledger import Ledger
from treeroll.core.model.pace import Pace
from treeroll.core.model.token_bucket import Bucket
from treeroll.core.model.tree_costs import TreeCosts
from treeroll.core.model.weights import OnUpdate
from treeroll.core.model.window import Window
from treeroll.policy.allocate import Allocation, BudgetAllocator, TaskView
from treeroll.policy.base import AdvantageEstimator, BranchPolicy, PrunePolicy, SegmentPolicy
from treeroll.policy.route import RoutePolicy, Routing
from treeroll.sampling import Sampling
from treeroll.why import Why


class RunState(StrEnum):
    """Whether a run takes tasks, and whether it grows trees."""

    OPEN = "open"
    CLOSED = "closed"  # takes no more tasks
    CANCELLED = "cancelled"  # grows no more trees either: a client said so, or its time is over


@dataclass(frozen=True, slots=True)
class StalenessBound:
    """A tree may be so many versions behind at its delivery, by its oldest trained token or by its newest."""

    versions: int
    by_newest: bool = False
    withhold: bool = True  # else trees beyond it are delivered all the same

    def hopeless(self, behind: int) -> bool:
        """Whether a growing tree can only be withheld, its oldest token being so far behind or further."""
        return self.withhold and not self.by_newest and behind > self.versions


class DeliveryTerms(NamedTuple):
    """What a run's trees are judged by when they are delivered."""

    versions: dict[str, int]
    """The version in force, by pool."""
    bound: StalenessBound | None


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A resolved run. Equal `config_json` means an equal run."""

    run_id: str
    config_json: str
    seed: int
    max_tokens: int
    sampling: Sampling
    segment: SegmentPolicy
    branch: BranchPolicy
    prune: PrunePolicy
    advantage: AdvantageEstimator
    scorer: str | None = None  # None and "client": trees are delivered unscored
    judge: str | None = None  # the scorer of held paths, for a branch policy that reads values
    budget: Budget = NO_BUDGET
    # Share of the fleet while others want it too: twice the weight, twice the tokens.
    weight: float = 1.0
    # The pools that its trees may grow in, and who says in which: None for the only one.
    models: tuple[str, ...] = ("",)
    route: RoutePolicy | None = None
    # None: all trees want the leaves of `branch`. With an allocator, `branch_for` is the growth of so many.
    allocate: BudgetAllocator | None = None
    branch_for: Callable[[int], BranchPolicy] | None = None
    history: History | None = None  # what the run starts with
    on_update: OnUpdate = OnUpdate.CONTINUE
    staleness: StalenessBound | None = None
    delivery: DeliveryRules = AS_THEY_COME
    fingerprint: str = ""  # of its policies: with others its trees would grow otherwise
    # What else its trees are begun with, by a name for people.
    ground: Mapping[str, str] = field(default_factory=dict, compare=False)
    owner: str = ""  # whose it is, by the name of a token; "": of nobody
    # Names of the pools that its trees may have branches in, each once.
    pools: tuple[str, ...] = field(init=False, compare=False)
    # Of the policies' needs, what is asked for every segment: looked up once.
    reads_tokens: bool = field(init=False, compare=False)  # the core must look into segments for the policies
    reads_text: bool = field(init=False, compare=False)  # nodes must keep their text
    reads_rewards: bool = field(init=False, compare=False)  # growth waits for the rewards of all leaves
    needs_hold: bool = field(init=False, compare=False)  # held paths go on only where growth says so

    def __post_init__(self) -> None:
        branch, prune = self.branch.needs, self.prune.needs
        object.__setattr__(self, "pools", tuple(dict.fromkeys((*self.models, *branch.models))))
        object.__setattr__(self, "reads_tokens", branch.tokens or prune.tokens)
        object.__setattr__(self, "reads_text", branch.text)
        object.__setattr__(self, "reads_rewards", branch.rewards)
        object.__setattr__(self, "needs_hold", branch.hold)

    @property
    def success(self) -> float | None:
        """Smallest reward that is a success for whoever decides by successes; None if nobody does."""
        deciders = (self.allocate, self.route)
        return next((one.success for one in deciders if one is not None and one.success is not None), None)

    def growth_of(self, task: "TaskSpec") -> BranchPolicy:
        """What grows a task's tree: alike for all tasks but for the number of leaves."""
        return self.branch_for(task.leaves) if self.branch_for and task.leaves else self.branch

    @property
    def scores_here(self) -> bool:
        """Whether our scorer pool rewards the leaves."""
        return self.scorer not in (None, "client")


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One tokenised task. `digest` identifies its content; `extra_json` goes to the scorer and back to the trainer."""

    task_id: str
    epoch: int
    tree_id: str
    prompt_ids: bytes  # int32 little-endian
    prompt_text: str
    digest: str
    answer: str | None = None
    extra_json: str = "{}"
    # Leaves that an allocator gave it, and what that had seen; 0 and None: not asked.
    leaves: int = 0
    view: TaskView | None = None
    model: str = ""  # the pool that its tree grows in, once it has started
    number: int = 0  # of the run's tasks, from 0 on, in the order in which they came
    submitted_at: float = 0.0  # seconds since the Unix epoch
    allotted_by: Why | None = None  # why it has so many leaves

    @property
    def key(self) -> str:
        """Unique in a run."""
        return f"{self.epoch}:{self.task_id}"


# Tasks in order, by the id of the tree that they will become.
Queue = OrderedDict[str, TaskSpec]


@dataclass(slots=True)
class Waiting:
    """Tasks without a tree yet. Those that somebody asked for by name come first.

    A route has sent some of the tasks to a model: they wait for it, the others for whoever has room first.
    """

    open: Queue = field(default_factory=OrderedDict)
    asked: Queue = field(default_factory=OrderedDict)
    sent: dict[str, Queue] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)  # trees that somebody asked for, wherever their tasks wait

    def __len__(self) -> int:
        return len(self.open) + len(self.asked) + (sum(map(len, self.sent.values())) if self.sent else 0)

    def __contains__(self, tree_id: str) -> bool:
        return any(tree_id in queue for queue in (self.open, self.asked, *self.sent.values()))

    def append(self, task: TaskSpec) -> None:
        """A task came."""
        self.open[task.tree_id] = task

    def ask(self, tree_id: str) -> bool:
        """Somebody waits for this tree, which is to start before those that nobody waits for. False if not here."""
        if tree_id in self.names:
            return True
        if (task := self.open.pop(tree_id, None)) is not None:
            self.asked[tree_id] = task
        elif (queue := next((queue for queue in self.sent.values() if tree_id in queue), None)) is not None:
            queue.move_to_end(tree_id, last=False)
        else:
            return False
        self.names.add(tree_id)
        return True

    def send(self, task: TaskSpec, model: str) -> None:
        """The task waits for this model from here on."""
        queue = self.sent.setdefault(model, OrderedDict())
        queue[task.tree_id] = task
        if task.tree_id in self.names:
            queue.move_to_end(task.tree_id, last=False)

    def may_have(self, model: str, asked_only: bool) -> bool:
        """Whether a task is here that waits for the model, or may do so, and if so wanted, that somebody asked for."""
        if asked_only and not self.names:
            return False
        return any(map(partial(self._first, asked_only), self._queues(model)))

    def take(self, model: str, asked_only: bool) -> TaskSpec | None:
        """The next such task."""
        for queue in self._queues(model):
            if (tree_id := self._first(asked_only, queue)) is not None:
                return queue.pop(tree_id)
        return None

    def start(self, task: TaskSpec) -> bool:
        """The task, which was taken, becomes a tree. Returns whether somebody asked for it."""
        asked = task.tree_id in self.names
        self.names.discard(task.tree_id)
        return asked

    def take_any(self) -> TaskSpec:
        """The next task of all, which will not start. Only while there is one."""
        tree_id, task = next(q for q in (self.asked, self.open, *self.sent.values()) if q).popitem(last=False)
        self.names.discard(tree_id)
        return task

    def _queues(self, model: str) -> tuple[Queue, ...]:
        sent = self.sent.get(model) if self.sent else None
        return (self.asked, self.open) if sent is None else (sent, self.asked, self.open)

    def _first(self, asked_only: bool, queue: Queue) -> str | None:
        """The tree of a queue's first task, if somebody asked for it or that does not matter."""
        tree_id = next(iter(queue), None)
        return None if asked_only and tree_id not in self.names else tree_id


@dataclass(slots=True)
class Counters:
    """Figures of a run that only grow."""

    # Tokens in no sample, by what became of them: made after a branch had been told to end; dropped behind the last
    # boundary of a branch; and of trees that ended, on paths that all ended at pruned nodes, and on others, which were
    # cut before they came to a leaf.
    late_tokens: int = 0
    dropped_tokens: int = 0
    pruned_tokens: int = 0
    censored_tokens: int = 0
    # Of trees that ended: those with a reward, of these the ones without an advantage that is not 0, and leaves with
    # such an advantage.
    scored_trees: int = 0
    trees_without_signal: int = 0
    effective_leaves: int = 0
    cached_tokens: int = 0
    recomputed_tokens: int = 0
    forks: int = 0
    fork_requests: int = 0
    fork_recomputed_tokens: int = 0
    regrants: int = 0
    lost_tokens_max: int = 0
    reward_errors: int = 0
    engine_errors: int = 0
    policy_errors: int = 0
    damaged: int = 0  # trees that could not be grown again from what is stored of them, and grew anew
    stale_trees: int = 0  # ended because their pool got other weights
    leaves: int = 0

    @property
    def wasted_tokens(self) -> int:
        """Tokens that are in no sample."""
        return self.late_tokens + self.dropped_tokens + self.pruned_tokens + self.censored_tokens


@dataclass(slots=True)
class ModelUse:
    """What one of a routed run's models did: trees started, and tokens of those that ended.

    `promised` is what growing trees are expected to take in all, `whole` the trees that ended and were not cut.
    """

    trees: int = 0
    tokens: int = 0
    promised: float = 0.0
    whole: int = 0
    whole_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What consumers of a run may still expect of it. Every task has one terminal event."""

    total: int | None
    """Terminal events in the end; None while tasks may come."""
    ended: int
    """So far."""
    waiting: int
    """Tasks whose trees have not started."""
    drained: bool
    """Nothing grows, and nothing will until the service's drain is taken back."""
    stuck: str
    """Why nothing will come any more of which trees have samples, as a sentence; "" if it may."""


@dataclass(slots=True)
class Run:
    """A run in progress."""

    spec: RunSpec
    created: float = 0.0  # seconds since the Unix epoch
    state: RunState = RunState.OPEN
    ledger: Ledger = field(default_factory=Ledger)
    counters: Counters = field(default_factory=Counters)
    # Task key -> (tree_id, content digest), every task ever submitted.
    tasks: dict[str, tuple[str, str]] = field(default_factory=dict)
    waiting: Waiting = field(default_factory=Waiting)
    growing: int = 0
    finished: int = 0
    failed: int = 0
    filtered: Counter[str] = field(default_factory=Counter)  # trees that were dropped, by filter
    fed: int = 0  # terminal events: entries of its feed
    failing: int = 0  # of the latest of these, those without a sample that no budget, deadline or client wanted so
    failure: str = ""  # why the last of them
    pace: Pace | None = None  # of a run whose growth waits for consumers
    window: Window | None = None  # of a run whose trees leave in order, more or less
    # Tokens it is charged for: what ended trees took, and what growing ones are expected to.
    charged: float = 0.0
    ended: int = 0  # trees that had started
    ended_tokens: int = 0  # what they took
    # Prompt tokens, block size, longest total -> where segments end, see SegmentPolicy.boundaries.
    boundaries: dict[tuple[int, int, int], list[int]] = field(default_factory=dict)
    allocation: Allocation | None = None
    history: History = field(default_factory=History)
    routing: Routing | None = None
    uses: dict[str, ModelUse] = field(default_factory=dict)  # of a run with a route, by model

    # Accounts that only some budgets need, see budget.accounts; `capped`: a grant may have to wait for any of them.
    capped: bool = False
    counts: tuple[Ledger, ...] = ()
    bucket: Bucket | None = None
    task_ledgers: dict[str, Ledger] = field(default_factory=dict)  # task id -> tokens of its trees
    task_ended: Counter[str] = field(default_factory=Counter)  # the same, of trees that have ended
    costs: TreeCosts = field(default_factory=TreeCosts)  # tokens of whole trees; leaves of those
    leaf_costs: TreeCosts = field(default_factory=TreeCosts)
    reserved: bool = False  # what is left is for the trees that grow, until one of them has ended
    # When its time is over: on the clock of `now`, and in seconds since the Unix epoch.
    ends_at: float | None = None
    deadline: float | None = None
    # Why it came short of its tasks: "cancelled", "deadline" or "budget", and a sentence; "" while it has not.
    stop_reason: str = ""
    stop_detail: str = ""
    engine_error: str = ""  # the latest
    policy_error: str = ""  # the latest
    quarantined: list[str] = field(default_factory=list)  # ids of tasks that replicas died of
    missing: str = ""  # what the store has forgotten of it that only who submitted can bring back; "" if nothing
    carried: dict[str, int] = field(default_factory=dict)  # of trees that are to grow anew, what they spent before

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it grows, and nothing will."""
        return self.state is not RunState.OPEN and not self.waiting and not self.growing

    @property
    def virtual(self) -> float:
        """Its virtual time in tokens: of the runs that want a slot, the one with the least of it is next."""
        return self.charged / self.spec.weight

    @property
    def is_far_ahead(self) -> bool:
        """Whether it starts no trees but those that somebody asked for, until its consumers have acknowledged some."""
        return self.pace is not None and self.pace.full

    def tokens_per_tree(self) -> float:
        """What a tree is expected to take: the mean so far; before there is one, as much as a single longest path."""
        return self.ended_tokens / self.ended if self.ended else float(self.spec.max_tokens)

    def stopped_by(self, reason: str, detail: str) -> None:
        """Why the run came short, if that is not known already."""
        if not self.stop_reason:
            self.stop_reason, self.stop_detail = reason, detail

    def outlook(self, draining: bool, stuck: str) -> Outlook:
        """What to expect of it in a service that drains or does not."""
        may_come = self.state is RunState.OPEN or (self.state is RunState.CLOSED and len(self.waiting) > 0)
        return Outlook(
            total=None if self.state is RunState.OPEN else len(self.tasks),
            ended=self.fed,
            waiting=len(self.waiting),
            drained=draining and not self.growing and may_come,
            stuck=stuck,
        )
