"""Everything the coordinator knows about growing work. Only `core` functions change it."""

from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from treeroll.core.model.branch import Branch
from treeroll.core.model.effects import Told
from treeroll.core.model.fleet import Replica
from treeroll.core.model.health import Health, Sign
from treeroll.core.model.ledger import Ledger
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.orphans import Orphans
from treeroll.core.model.pool import Pool
from treeroll.core.model.run import Run
from treeroll.core.model.token_bucket import Bucket
from treeroll.errors import BrokenInvariant
from treeroll.invariants import Invariant
from treeroll.policy.base import PlacementPolicy
from treeroll.tools.base import Tool
from treeroll.tree.node import Observation, Tokens

# A branch whose grant does not fit an account: what it needs of that, and a number that orders equal needs.
BlockedGrant = tuple[int, int, LiveTree, Branch]


def no_tokens(payload: Any) -> Tokens:
    """No tokens, for shells whose runs never read them."""
    return Tokens(array("i"), array("f"), array("f"))


def no_tools(tool: Tool, text: str, remark: str) -> Observation:
    """No tools, for shells whose runs have none."""
    raise BrokenInvariant(Invariant.TREE_WELL_FORMED, f"nobody answers the calls of tool '{tool.name}'")


def no_texts(text: str) -> Observation:
    """No texts, for shells whose runs insert none."""
    raise BrokenInvariant(
        Invariant.TREE_WELL_FORMED, f"nobody tokenises the {len(text)} characters that a policy inserts"
    )


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """Limits the core decides with. Times in seconds on the clock that `now` is read from.

    `read_tokens` makes sense of a report's payload, for runs whose policies read tokens. `observe` has a tool answer
    the call that a text ends with, and tokenises the answer with a remark behind it; `encode` tokenises what a policy
    inserts. Both are pure functions, as tools are. `pools` are the names of the models that are served; "" is the only
    one of a service that names none.
    """

    placement: PlacementPolicy
    pools: tuple[str, ...] = ("",)
    lease_s: float = 10.0
    mute_s: float = 30.0  # that a replica with branches may make no token
    run_ahead: int = 2
    max_attempts: int = 5
    max_losses: int = 2
    kv_hold: float = 0.8
    live_trees: int | None = None
    # How long replicas may take to stage weights and to load them, and how long trees may take to finish first.
    stage_s: float = 600.0
    load_s: float = 120.0
    finish_s: float = 600.0
    read_tokens: Callable[[Any], Tokens] = no_tokens
    observe: Callable[[Tool, str, str], Observation] = no_tools
    encode: Callable[[str], Observation] = no_texts
    tells: bool = False  # what is decided, also where nothing has to be done: see Told


@dataclass(slots=True)
class State:
    """The coordinator's memory of unfinished work."""

    settings: CoreSettings
    # Grants of different coordinator epochs must never be equal: the shell starts this at epoch << 40.
    next_grant: int = 1
    runs: dict[str, Run] = field(default_factory=dict)
    trees: dict[str, LiveTree] = field(default_factory=dict)
    # Runs that are stored and cannot go on for now, with the pools that they use; none: nobody knows which.
    suspended: dict[str, tuple[str, ...]] = field(default_factory=dict)
    replicas: dict[str, Replica] = field(default_factory=dict)
    # By the name of their model; the replicas are those of `replicas`.
    pools: dict[str, Pool] = field(init=False)
    grants: dict[int, tuple[LiveTree, Branch]] = field(default_factory=dict)
    # Branches that do not fit an account: now, but may after a refund; before some time has passed; ever.
    blocked: dict[Ledger, list[BlockedGrant]] = field(default_factory=dict)
    throttled: dict[Bucket, list[BlockedGrant]] = field(default_factory=dict)
    doomed: dict[Ledger, deque[BlockedGrant]] = field(default_factory=dict)
    # (when, run) of runs whose time will be over, a heap.
    ends: list[tuple[float, str]] = field(default_factory=list)
    # (when, tree) at which the waits of trees with a timeout are looked at, a heap.
    timeouts: list[tuple[float, str]] = field(default_factory=list)
    # (when, run, group) at which groups that were not heard since are idle, a heap.
    idles: list[tuple[float, str, str]] = field(default_factory=list)
    orphans: Orphans | None = None  # None: it is known of all branches whether they run
    incarnations: dict[str, int] = field(default_factory=dict)  # highest seen, also of lost replicas
    health: dict[str, Health] = field(default_factory=dict)  # of replicas, also of lost ones
    rests: list[tuple[float, str]] = field(default_factory=list)  # (until, replica), a heap
    # (deadline, replica, incarnation) of replicas that drain, a heap.
    drains: list[tuple[float, str, int]] = field(default_factory=list)
    now: float = 0.0  # the latest that any event came with, seconds
    order: int = 0
    draining: bool = False
    store_full: bool = False  # nearly: what grows may end, nothing may begin
    updates_wait: bool = False  # a pool's weights wait for trees that finish first
    sent: bool = False  # since the last look, a task was sent to another pool than the one that had a place
    # What growth leaves to `settle` and `assign`, in order: pending branches that are in no queue yet, trees whose
    # accounts got something back while others waited for it, what speaks for or against replicas, and trees that ended.
    wanted: list[tuple[LiveTree, Branch]] = field(default_factory=list)
    refunded: list[LiveTree] = field(default_factory=list)
    signs: list[tuple[Replica, Sign, str]] = field(default_factory=list)  # of replicas, with a reason
    ended: list[LiveTree] = field(default_factory=list)
    broken: list[LiveTree] = field(default_factory=list)  # trees that a policy has failed: to be ended
    failed: dict[str, Run] = field(default_factory=dict)  # runs with policies that have failed: to be stored
    learnt: list[tuple[Run, str, str]] = field(default_factory=list)  # history to be stored: run, task id, record
    memories: list[tuple[Run, str, str]] = field(default_factory=list)  # of runs, to be stored: run, part, as JSON
    told: list[Told] = field(default_factory=list)  # to be said with the next effects
    fenced: int = 0  # reports of stale grants or incarnations, dropped

    def __post_init__(self) -> None:
        self.pools = {name: Pool(name) for name in self.settings.pools}

    def take_slot(self, replica: Replica, branch: Branch) -> None:
        """The branch runs on the replica from now on."""
        if not replica.grants:
            replica.moved_at = self.now
        replica.grants.add(branch.grant)
        pool = self.pools[branch.model]
        if replica.replica_id in pool.replicas:
            pool.free_slots.changed(replica, -1)

    def free_slot(self, branch: Branch) -> None:
        """The branch runs on its replica no more."""
        replica = self.replicas.get(branch.origin.replica_id)
        if replica is None or branch.grant not in replica.grants:
            return
        replica.grants.remove(branch.grant)
        pool = self.pools[branch.model]
        if replica.replica_id not in pool.replicas:
            return
        pool.free_slots.changed(replica, 1)
        if len(replica.queue):
            pool.served_next[replica.replica_id] = None

    def take_told(self) -> list[Told]:
        """What was decided since this was last asked."""
        told, self.told = self.told, []
        return told

    @property
    def waiting_tasks(self) -> int:
        """Tasks without a tree yet."""
        return sum(len(run.waiting) for run in self.runs.values())
