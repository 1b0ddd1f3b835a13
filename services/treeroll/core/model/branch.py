"""Branches and their life as a table.

A branch is the right to one chain of nodes, and at most one engine request (a grant) at a time serves it:

    PENDING --grant--> RUNNING ---finish-> DONE
       ^                    |---stop-----> STOPPING --end/lost/move--> DONE
       |-credit, lost, move-|--hold------> HELD --resume--> PENDING, --close--> DONE

OneOutcomePerBranch: every grant ends in exactly one outcome; `BRANCH_TABLE` is the only place where states change.
"""

from msgspec import Struct

from treeroll.core.model.ledger import Ledger
from treeroll.errors import BrokenInvariant
from treeroll.invariants import Invariant
from treeroll.tree.node import LEAF, OF_PROMPT, BranchReason, Decision, Kind, Node, Observation, Origin
from treeroll.tree.tree import TAIL_CHARS
from treeroll.why import Why


class BranchState(Kind):
    """Where a branch stands."""

    PENDING = "pending"  # a right, waiting for a slot
    RUNNING = "running"  # granted to a replica
    STOPPING = "stopping"  # told to end, its last report is awaited
    HELD = "held"  # ended at a boundary, waiting for a decision
    DONE = "done"


class BranchEvent(Kind):
    """What happens to a branch."""

    GRANT = "grant"
    FINISH = "finish"
    STOP = "stop"
    END = "end"
    CREDIT = "credit"
    LOST = "lost"
    MOVE = "move"
    HOLD = "hold"
    RESUME = "resume"
    CUT = "cut"


class Outcome(Kind):
    """How a grant ended."""

    FINISHED = "finished"  # reached a leaf by itself
    STOPPED = "stopped"  # ended by us
    CREDIT = "credit"  # ended at a boundary that it may not decode past, for no answer had come: we are too slow
    HELD = "held"  # ended at a boundary, to wait for a decision there
    LOST = "lost"  # its replica died or refused it
    DRAINED = "drained"  # its replica had to end before it did


S, E = BranchState, BranchEvent
BRANCH_TABLE: dict[tuple[BranchState, BranchEvent], tuple[BranchState, Outcome | None]] = {
    (S.PENDING, E.GRANT): (S.RUNNING, None),
    (S.PENDING, E.CUT): (S.DONE, None),
    (S.RUNNING, E.FINISH): (S.DONE, Outcome.FINISHED),
    (S.RUNNING, E.STOP): (S.STOPPING, None),
    (S.RUNNING, E.CREDIT): (S.PENDING, Outcome.CREDIT),
    (S.RUNNING, E.LOST): (S.PENDING, Outcome.LOST),
    (S.RUNNING, E.MOVE): (S.PENDING, Outcome.DRAINED),
    (S.RUNNING, E.HOLD): (S.HELD, Outcome.HELD),
    (S.STOPPING, E.END): (S.DONE, Outcome.STOPPED),
    (S.STOPPING, E.LOST): (S.DONE, Outcome.LOST),
    (S.STOPPING, E.MOVE): (S.DONE, Outcome.DRAINED),
    (S.HELD, E.RESUME): (S.PENDING, None),
    (S.HELD, E.CUT): (S.DONE, None),
}


class Branch(Struct, gc=False):
    """One branch of a tree.

    `tip` is its last durable node (the node it starts from, until it has one of its own). Of its durable sequence,
    `total` is the length, prompt included, `depth` the number of boundaries passed, `logprob_sum` that of the sampled
    tokens. `sibling_index` is the index its first node takes below the start. `boundaries` are the total lengths where
    segments end on its path, for depth 1, 2, ... `inserted` comes before its first sampled token, and is durable with
    it. `grant` and `origin` are those of the last grant and its nodes. `reserved` are tokens that accounts still hold
    for the running grant, `claims` those accounts of things counted that hold one for it. `tail` is the end of its
    completion text, None until a replica has said it.

    A Struct for the same reason as Node, with the same condition.
    """

    number: int
    tip: int
    total: int
    depth: int
    logprob_sum: float
    sibling_index: int
    reason: BranchReason
    decision: Decision
    boundaries: list[int]
    state: BranchState = BranchState.PENDING
    grant: int = 0
    origin: Origin = OF_PROMPT
    home: str | None = None
    model: str = ""  # the pool that serves it
    reserved: int = 0
    overrun: int = 0  # tokens beyond what was reserved, of the last grant
    claims: tuple[Ledger, ...] = ()
    seed: int = 0
    group: int = 0  # its nodes' label, see Origin
    temperature: float | None = None  # what it samples at; None: the run's
    max_tokens: int | None = None  # see Origin
    inserted: Observation | None = None  # None once it is in a node
    started: bool = False  # has a node of its own
    failures: int = 0  # grants the engine refused or a replica lost
    refusals: int = 0  # those that the engine refused
    refused: tuple[str, ...] = ()  # the replicas that refused it or were mute, the latest last
    tail: str | None = None
    why: Why | None = None  # the decision that started it
    # Since when it waits for a replica, on the clock of `now`; how long it did for its last grant, in seconds, and the
    # account that had too little room for it meanwhile.
    wanted_at: float | None = None
    waited_s: float = 0.0
    masked_by: str = ""

    @property
    def position(self) -> int:
        """Length of the sequence that its next token is sampled behind."""
        return self.total + self.inserted.n_tokens if self.inserted else self.total

    @property
    def need(self) -> int:
        """Most tokens that it may still sample."""
        return self.boundaries[-1] - self.position

    def insert(self, text: Observation) -> None:
        """Put some text before the first token that it samples."""
        self.inserted = text
        if self.tail is not None:
            self.tail = (self.tail + text.text)[-TAIL_CHARS:]

    def refuse(self, replica_id: str) -> None:
        """The replica did not serve it: the next attempt is elsewhere, if that can be."""
        self.refused = (*(name for name in self.refused if name != replica_id), replica_id)

    def spend_claims(self, node: Node) -> None:
        """Settle what its new node has used of its claims."""
        used = {"expansions"}
        if node.status is LEAF:
            used.add("leaves")
        if node.observation is not None:
            used.add("tool_calls")
        for ledger in self.claims:
            if ledger.key in used:
                ledger.settle(1)
        self.claims = tuple(ledger for ledger in self.claims if ledger.key not in used)

    def apply(self, event: BranchEvent) -> Outcome | None:
        """Move along the table; returns the grant's outcome if it ended here."""
        try:
            self.state, outcome = BRANCH_TABLE[self.state, event]
        except KeyError:
            detail = f"branch {self.number} in state {self.state} cannot take event {event}"
            raise BrokenInvariant(Invariant.ONE_OUTCOME_PER_BRANCH, detail) from None
        return outcome
