"""What the coordinator needs from a store. `memory` and `redis` implement it and pass the same contract tests.

Promises:
 - a commit is atomic and fenced: all of it or, for an epoch older than the store's, none of it (StaleEpoch);
 - what `commit` has returned for is what every later read sees, after a crash too, within the durability mode;
 - the feed of a run is an ordered log; each consumer group has its own cursor, leases and acknowledgements.

Blobs are opaque here: serialised protobuf messages that `coordinator/records.py` makes and reads.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from treeroll.ranges import Range


@dataclass(slots=True)
class Commit:
    """Everything one tick of the coordinator makes durable."""

    # run_id -> run record (configuration, state, ledger, counters).
    runs: dict[str, bytes] = field(default_factory=dict)
    # tree_id -> tree header (task, status, ledger; with credit once finished).
    trees: dict[str, bytes] = field(default_factory=dict)
    # tree_id -> [(node number, node record)]; written once, never changed: one that is stored already must be the same.
    nodes: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    # tree_id -> entries for the end of its journal, which is kept until the tree enters its feed.
    journal: dict[str, list[bytes]] = field(default_factory=dict)
    # Trees that grow anew: what is stored of their nodes, rewards and journal goes first, and the commit has node 0 on.
    anew: list[str] = field(default_factory=list)
    # tree_id -> {"<node>:<scorer>:<version>": reward record}; an entry replaces one of the same key.
    rewards: dict[str, dict[str, bytes]] = field(default_factory=dict)
    # run_id -> {task key: (tree_id, content digest)} of newly submitted tasks. Task key: "<epoch>:<task_id>".
    tasks: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    # run_id -> {task id: how often it succeeded, as `core.history.Record` writes it}; an entry replaces an older one.
    history: dict[str, dict[str, str]] = field(default_factory=dict)
    # run_id -> {part: JSON} of what its policies and books remember; an entry replaces an older one.
    memory: dict[str, dict[str, str]] = field(default_factory=dict)
    # pool -> its weights: in force, on their way, and earlier ones.
    weights: dict[str, bytes] = field(default_factory=dict)
    # pool -> the model that it serves.
    models: dict[str, bytes] = field(default_factory=dict)
    # replica -> record of its latest session; an entry replaces an older one.
    sessions: dict[str, bytes] = field(default_factory=dict)
    # run_id -> what the tick decided of its trees, for people; each appends one entry to the log of ticks.
    ticks: dict[str, bytes] = field(default_factory=dict)
    # What happened to the fleet and the runs: one entry of the log of happenings, or none.
    happenings: bytes = b""
    # Bytes of ticks that are kept, about.
    ticks_kept: int = 0
    # (run_id, tree_id) of trees that ended, in order; each appends one entry to the run's feed.
    feed: list[tuple[str, str]] = field(default_factory=list)
    # Given by the store when it is first sent, so that it is the same commit when it is sent again; 0 before.
    number: int = 0

    def __bool__(self) -> bool:
        of_trees = self.trees or self.nodes or self.rewards or self.feed or self.journal or self.anew
        of_runs = self.runs or self.tasks or self.history or self.memory
        of_fleet = self.weights or self.models or self.sessions
        return bool(of_trees or of_runs or of_fleet or self.ticks or self.happenings)


Log = Literal["ticks", "happenings"]


LogEntry = tuple[int, bytes]
"""An entry of a log, and its place: how many bytes the log has ever had with it. With nothing lost between, that is the
place of the one before and its own length."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the owner of a store last said of itself: another one whenever it has committed."""

    epoch: int
    commit: int
    """Number of its last commit."""
    name: str
    """Its process, for people."""
    beats: int = 0
    """How often owners said that they live, beside commits."""


NOBODY = Heartbeat(0, 0, "")
"""Of a store that was never opened."""


@dataclass(slots=True)
class StoredTree:
    """One tree as stored: header, node records by number, reward records by key."""

    header: bytes
    nodes: list[bytes]
    rewards: dict[str, bytes]


PAGE_NODES = 256
PAGE_BYTES = 128 << 10
"""Of a tree that is read page by page: no page has more nodes, and none is much larger, but for what one node or the
header has. Others have their turn after each."""


@dataclass(slots=True)
class TreePage:
    """Nodes of a tree that come one after the other, and their rewards; the first page has the header as well."""

    first: int
    """Number of its first node."""
    header: bytes
    """Empty in all pages but the first."""
    nodes: list[bytes]
    rewards: dict[str, bytes]
    """By "<node>:<scorer>:<version>"."""


@dataclass(slots=True)
class Lease:
    """A feed entry handed to a consumer.

    `lease_id` names group epoch, entry, consumer and delivery count, so that a lease that moved on is told from the one
    in force.
    """

    lease_id: str
    tree_id: str
    seq: int  # position in the run's feed: 1, 2, 3 ...
    times_delivered: int  # 1 for the first delivery to the group, or the first since the group was moved


@dataclass(slots=True)
class GroupState:
    """Where a consumer group stands. acknowledged + leased + waiting = entries in the feed."""

    acknowledged: int
    leased: int
    waiting: int


@dataclass(slots=True)
class Unacknowledged:
    """What a consumer group has been given and still owes an acknowledgement for."""

    delivered: int  # entries at the beginning of the feed that were handed out at least once
    pending: list[int]  # the seqs of these that are not acknowledged, ascending


MAX_GROUPS = 1000
"""Of one run, as `scripts/group.lua` has it."""

FeedMark = tuple[int, int]
"""An owner's epoch, and a number of entries at the beginning of a run's feed."""


def marked(opened: Sequence[FeedMark], epoch: int, entries: int) -> list[FeedMark]:
    """Opened, and one more; less those that say nothing beside it, since they had no fewer entries."""
    return [*(mark for mark in opened if mark[1] < entries), (epoch, entries)]


def lost_after(opened: Sequence[FeedMark], seen: FeedMark) -> int | None:
    """How many entries were left of those that came under an owner, if not all were; later owners say so."""
    left = min((entries for epoch, entries in opened if epoch > seen[0]), default=seen[1])
    return left if left < seen[1] else None


@dataclass(slots=True)
class GroupPosition:
    """What a consumer group has done, in full."""

    epoch: int
    """Grows by one whenever the group is moved; leases of an earlier epoch are over."""
    acknowledged: list[Range]
    """Entries of the feed, by seq."""
    steps: int = 0
    """Global batches that all ranks have acknowledged, one after the other from the first on."""
    steps_out: int = 0
    """Global batches that were taken and are not acknowledged."""
    opened: list[FeedMark] = field(default_factory=list, compare=False)
    """Entries that the feed had as owners took the store over, by epoch: of it, not of the group. See `marked`."""


@dataclass(frozen=True, slots=True)
class Move:
    """Where a group is to go."""

    acknowledged: Sequence[Range]
    """Entries that it has acknowledged from then on; all others come again, whatever it had acknowledged before."""
    move_id: str
    """A move is done once, however often it is asked for under its id."""
    steps: int = 0
    """Global batches that are acknowledged from then on."""
    by_ranks: bool = False
    """Each of several ranks asks for it: nothing is done if exactly this is acknowledged already."""
    seen: Sequence[FeedMark] = ()
    """The last entry that came under each owner. An owner that found fewer entries than came under one before it took
    over after the store had lost the others, and their places are other trees' now."""


@dataclass(slots=True)
class Available:
    """What `lease` would lend now."""

    entries: list[tuple[int, str]]
    """(seq, tree id), in order."""
    on_lease: int
    """Entries that consumers hold, and may give back."""


@dataclass(slots=True)
class Step:
    """A global batch: entries that a group's ranks take, and acknowledge, together."""

    number: int
    """1, 2, 3 ... in the group; those before it have been taken."""
    world: int = 0
    """Ranks that share it; 0: it has not been taken."""
    record: bytes = b""
    """What the feed wrote of it: opaque here."""
    taken_now: bool = field(default=False, compare=False)
    """By the call that returned it."""


class Store(Protocol):
    """The store contract. All methods raise StoreDown while the store does not answer, or takes no writes."""

    durability: str  # "always", "everysec" or "none" (memory)
    url: str | None  # with which other processes may open it, passwords included; None: nobody else can
    address: str  # for people: "memory", "unix:///...", "redis://host:port/0"; never with a password

    async def open(self, after: int = 0, heard: Heartbeat | None = None) -> int:
        """Connect, check the server's settings, take over: returns this owner's epoch, larger than any before.

        `after`: the epoch of an owner that found LostWork, and goes on from what is there. The new epoch is larger than
        that one, too, which the store may have forgotten, and begins a new line. `heard`: StaleEpoch if the owner has
        said anything since, or there is another, so that of several that open a store at once one does.
        """
        ...

    async def beat(self, epoch: int) -> None:
        """Be heard by who stands by; in no order with commits, for an owner that has none to make yet. StaleEpoch if a
        newer owner opened the store, StoreError if none did, as far as the store knows."""
        ...

    async def line(self) -> int:
        """The epoch since which nothing was lost; 0 if nothing ever was, as far as the store knows. What was said of
        feeds in another line may be said of other trees in this one."""
        ...

    async def heartbeat(self) -> Heartbeat | None:
        """The owner's last word, for those who never opened the store, too; None if it was never opened."""
        ...

    async def secret(self) -> bytes:
        """Random bytes that are made once and stay as long as the store; from owner to owner."""
        ...

    async def close(self) -> None:
        """Release connections. An embedded server is stopped by whoever started it."""
        ...

    async def commit(self, commit: Commit, epoch: int) -> None:
        """Make it durable, atomically. StaleEpoch if a newer owner opened the store, LostWork if it forgot commits that
        it had answered for, BrokenInvariant for nodes that leave one out or are stored with other content; then nothing
        of it is written.

        After StoreDown it may be durable or not; the same object may be committed again, before any other, until there
        is another answer.
        """
        ...

    async def save_snapshot(self, snapshot: bytes, point: bytes, epoch: int) -> None:
        """Replace what the owner says of itself, and add a point to its history, of which about the last hour is kept.
        It comes in no order with commits. StaleEpoch if a newer owner opened the store, StoreError if none did, as far
        as the store knows; then nothing of it is written."""
        ...

    async def load_snapshot(self) -> bytes | None:
        """What an owner last said of itself; None if none ever did."""
        ...

    async def load_points(self, after: str = "", most: int = 1000) -> list[tuple[str, bytes]]:
        """Points of that, oldest first, each with its id: the first `most` of those that came after the one of this id,
        or of all. An id is "<milliseconds since the Unix epoch>-<number>", by the store's clock."""
        ...

    async def used(self) -> float | None:
        """Share of the memory that it may have which it uses, above 1 if it has more; None without a limit."""
        ...

    async def run_ids(self) -> list[str]:
        """All runs, in no order."""
        ...

    async def load_runs(self) -> dict[str, bytes]:
        """Run id -> run record, of all."""
        ...

    async def load_run(self, run_id: str) -> bytes | None:
        """Run record."""
        ...

    async def load_tasks(self, run_id: str) -> dict[str, tuple[str, str]]:
        """Task key -> (tree_id, content digest)."""
        ...

    async def load_history(self, run_id: str) -> dict[str, str]:
        """Task id -> how often it succeeded."""
        ...

    async def load_memory(self, run_id: str) -> dict[str, str]:
        """Part -> what the run's policies and books remember, as JSON."""
        ...

    async def load_weights(self) -> dict[str, bytes]:
        """Pool -> record of its weights."""
        ...

    async def load_models(self) -> dict[str, bytes]:
        """Pool -> record of the model that it serves."""
        ...

    async def load_sessions(self) -> dict[str, bytes]:
        """Replica -> record of its latest session."""
        ...

    def tree_pages(self, tree_id: str) -> AsyncIterator[TreePage]:
        """A tree page by page, nodes in order of number; nothing when there is none. All of it is of the moment of the
        first page. TreeChanged, maybe as late as after the last page, if it was deleted or began anew meanwhile: what
        came of it belongs to no tree then."""
        ...

    async def load_tree(self, tree_id: str) -> StoredTree | None:
        """The same at once; None when there is none. It is read again as often as it changes."""
        ...

    async def load_trees(self, tree_ids: list[str]) -> list[StoredTree | None]:
        """Several trees in one round trip, in the order asked."""
        ...

    async def load_journals(self, tree_ids: list[str]) -> list[list[bytes]]:
        """The journals of several trees in one round trip, in the order asked; empty for one that has none."""
        ...

    async def load_nodes(self, paths: list[tuple[str, list[int]]]) -> list[list[bytes]]:
        """Some nodes of some trees in one round trip: (tree_id, node numbers) each. StoreError if one is missing."""
        ...

    async def feed_length(self, run_id: str) -> int:
        """Entries in the run's feed."""
        ...

    async def feed_entries(self, run_id: str) -> list[str]:
        """Tree ids of the feed in order, for audits."""
        ...

    async def open_group(self, run_id: str, group: str, *, latest: bool) -> GroupPosition:
        """Where a group stands. Creates it on first use, positioned before the run's first entry, or after the last one
        if `latest`; InvalidInput if it would begin with entries that have expired."""
        ...

    async def move_group(self, run_id: str, group: str, move: Move) -> GroupPosition:
        """Give the group another past: a new epoch, in which exactly `move.acknowledged` is acknowledged and nothing is
        on lease. Creates the group on first use. InvalidInput for entries that the feed does not have, or if entries
        that would come again have expired; nothing is changed then. Once more under its move_id it only answers.
        Global batches that were taken and are not acknowledged are forgotten."""
        ...

    async def lease(
        self, run_id: str, group: str, consumer: str, count: int, lease_s: float, epoch: int | None = None
    ) -> list[Lease]:
        """Up to `count` leases, at once (no waiting): entries whose lease expired first, then new ones.

        Creates the group on first use, as `open_group` does. A lease not renewed for the lease_s it was taken with has
        expired. GroupMoved if an epoch is given and the group has another one.
        """
        ...

    async def renew(self, run_id: str, group: str, lease_ids: list[str], lease_s: float) -> list[str]:
        """Restart the clocks of these leases; returns the ones that moved on or are unknown. GroupMoved, and nothing is
        done, if one of them is of an earlier epoch of the group."""
        ...

    async def ack(self, run_id: str, group: str, lease_ids: list[str]) -> list[str]:
        """Finish these leases for good; returns those that moved on or are unknown. An entry acknowledged before under
        the same lease_id is a no-op, not lost. An expired lease that nobody else took is still good. GroupMoved, and
        nothing is done, if one of them is of an earlier epoch of the group."""
        ...

    async def release(self, run_id: str, group: str, lease_ids: list[str]) -> list[str]:
        """Give these leases back at once, so that the next `lease` call of the group hands the entries out again."""
        ...

    async def release_all(self, run_id: str, group: str, consumer: str) -> None:
        """Give back every lease of a consumer, for one that does not know what it holds."""
        ...

    async def available(self, run_id: str, group: str, count: int, epoch: int) -> Available:
        """The entries, up to `count`, that `lease` would lend now; nothing is lent. Creates the group on first use, as
        `open_group` does. GroupMoved if the group has another epoch."""
        ...

    async def find_step(self, run_id: str, group: str, number: int, rank: int, world: int, epoch: int) -> Step:
        """A global batch of the group, taken or not; number 0: the first that this rank has not acknowledged.

        InvalidInput for one that is acknowledged by all, or comes after one that was not taken. GroupMoved if the group
        has another epoch.
        """
        ...

    async def take_step(self, run_id: str, group: str, step: Step, seqs: list[int], epoch: int) -> Step | None:
        """Take these entries, which `available` gave first and in this order, for a global batch: they stay its own,
        without time limit, until all ranks have acknowledged it or the group is moved.

        Returns the batch as it is; that is another one if somebody else took it first. None if the entries are not what
        is available any more. InvalidInput and GroupMoved as for `find_step`.
        """
        ...

    async def share_step(self, run_id: str, group: str, step: Step, world: int, epoch: int) -> Step:
        """Give a batch that was taken by `world` ranks another world and record; the entries stay the same.

        Returns it as it is, if it has another world than `world` by now. ShareConflict if a rank has acknowledged its
        share. InvalidInput and GroupMoved as for `find_step`.
        """
        ...

    async def ack_share(self, run_id: str, group: str, number: int, rank: int, world: int, epoch: int) -> bool:
        """A rank is done with its share of a batch; whether all are. Then all of the batch's entries are acknowledged.
        Again is a no-op.

        ShareConflict if the batch is shared by another number of ranks, InvalidInput if it was not taken, GroupMoved if
        the group has another epoch.
        """
        ...

    async def group_state(self, run_id: str, group: str) -> GroupState:
        """Counts of a group (all waiting if the group does not exist)."""
        ...

    async def unacknowledged(self, run_id: str, group: str) -> Unacknowledged:
        """Which entries a group has not acknowledged, beside those it was never given (nothing for no group)."""
        ...

    async def settled(self, run_id: str) -> int:
        """Entries at the beginning of the run's feed that all of its groups have acknowledged; 0 without a group."""
        ...

    async def expire(self, run_id: str, upto: int, epoch: int) -> list[str]:
        """Remove the first `upto` entries of a feed and their trees, but none that a group has not acknowledged; their
        ids.

        No group can begin after that: it could not have all trees. StaleEpoch if a newer owner opened the store.
        """
        ...

    async def expired(self, run_id: str) -> int:
        """How many entries at the beginning of the run's feed have expired."""
        ...

    async def all_expired(self) -> dict[str, int]:
        """The same of all runs of which trees have expired."""
        ...

    async def ended_s(self, run_id: str, epoch: int, *, anew: bool = False) -> float:
        """Seconds since this was first asked of a run, or last with `anew`, in the time of all owners together, which
        stands still without one. StaleEpoch if a newer owner opened the store."""
        ...

    async def delete_run(self, run_id: str, epoch: int) -> int:
        """Remove a run with all of its trees, tasks, history, groups and entries of the log of ticks; the number of its
        tasks. Again is a no-op.

        Its record goes last, so that a deletion that was cut short can be done again. Nothing may be committed for the
        run meanwhile. StaleEpoch if a newer owner opened the store.
        """
        ...

    async def group_names(self, run_id: str) -> list[str]:
        """Groups of a run."""
        ...

    async def log_end(self, log: Log) -> int:
        """How many bytes a log has ever had: the place of its newest entry, if that has not gone."""
        ...

    async def load_log(self, log: Log, after: int, most: int) -> list[LogEntry]:
        """Up to `most` entries behind a place, the oldest first. What is too old is gone, and of ticks what a deleted
        run had."""
        ...
