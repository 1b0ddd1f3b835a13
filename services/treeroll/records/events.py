"""Events: what was decided of trees, tick by tick, and what happened to the fleet and the runs, as they are stored.

For people, and for who works out afterwards what a service did. An entry is one Tick, in MessagePack: arrays, whose
elements are in the order of the fields here. Later versions add fields at the end.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from treeroll.why import Why

# Of trees: what was decided.
TREE_KINDS: Final = (
    "started",  # on replica; count: leaves allotted, if any
    "forked",  # path: its first node; reason: of the branch
    "granted",  # path: its next node; replica; seconds that it waited; count: attempt; reason: account that masked it
    "masked",  # path: its next node; reason: the account that has too little room
    "ended_path",  # path: its last node; reason: stop reason; detail: "leaf" or "pruned"
    "let_end",  # path: a held node where nothing goes on
    "lost",  # a grant with its replica; count: branch
    "cut",  # a branch that waited; count: branch; reason, detail
    "stopped",  # all branches; reason, detail; count: those that waited
    "ended",  # reason: status; count: leaves; detail: error
)
# Of fleet and runs: what happened.
FLEET_KINDS: Final = (
    "took_over",  # the owner of this epoch began; count: epoch
    "replica_joined",  # count: incarnation
    "replica_lost",  # reason
    "replica_judged",  # reason: standing; detail
    "weights_published",  # reason: pool; count: version; detail: directory
    "run_created",
    "tasks_submitted",  # count
    "run_closed",
    "run_cancelled",
    "run_deleted",
    "run_stopped",  # reason, detail
    "drained",
    "undrained",
    "store_paused",  # seconds; detail
    "store_filled",  # reason: "full" or "room"
    "broken",  # reason: invariant; detail
)


class Event(Struct, array_like=True, gc=False):
    """One of them; `kind` says what the others mean."""

    kind: str
    run: str = ""
    tree: str = ""
    path: str = ""
    replica: str = ""
    count: int = 0
    reason: str = ""
    detail: str = ""
    seconds: float = 0.0
    why: tuple[str, tuple[tuple[str, float], ...]] | None = None

    @property
    def explained(self) -> Why | None:
        """`why`, as policies say it."""
        return None if self.why is None else Why(*self.why)


class Tick(Struct, array_like=True, gc=False):
    """What one commit says, in order."""

    at: float
    """Seconds since the Unix epoch, by the coordinator's clock."""
    epoch: int
    events: list[Event]


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Tick).decode


class Gap(Struct, gc=False):
    """Something that was said before the next entry is not there any more: too old, or lost with the store."""

    after: int
    """Place that was read up to."""
    until: int
    """Place where the next entry begins. Below `after`: the store went back in time."""


def read(entries: Iterable[tuple[int, bytes]], after: int) -> Iterator[Tick | Gap]:
    """The ticks of a log's entries, each with its place, that were read behind a place. What is missing between them is
    marked, and nothing else than what is there is told. An entry that nobody can read is a gap, too."""
    for place, blob in entries:
        begins = place - len(blob)
        if begins != after:
            yield Gap(after, begins)
        after = place
        try:
            yield _decode(blob)
        except msgspec.MsgspecError:
            yield Gap(begins, after)
