"""Stream: gathers leased trees into batches. The one implementation behind the sync and the async iterator."""

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from treeroll import ranges
from treeroll.checks import check_number, check_whole
from treeroll.client.channel import Channel
from treeroll.client.collect import CollectedTrees
from treeroll.client.credit import RewardReports
from treeroll.client.detached import DetachedTrees
from treeroll.client.fetch_size import FetchSize
from treeroll.client.leased_trees import LeasedTrees
from treeroll.client.leases import Leases
from treeroll.client.patience import Patience, check_timeout
from treeroll.client.prefetch import Prefetch
from treeroll.client.progress import GroupProgress, State
from treeroll.client.records import samples_in, tree_id_of
from treeroll.client.shares import LeasedShare, Shares
from treeroll.client.status import RunStatus
from treeroll.errors import InvalidInput, LeaseLost
from treeroll.pb.v1 import rollout_pb2

log = logging.getLogger(__name__)

Ack = Literal["on_next", "manual"]
Start = Literal["first", "latest"]
Held = LeasedTrees | LeasedShare
Meant = Held | CollectedTrees | DetachedTrees | int

# How long the service waits for a tree: with nothing held, and while a batch is filling (short, to see that a run
# ended).
IDLE_WAIT_S = 10.0
FILLING_WAIT_S = 1.0
# Failed tasks ride along with a batch; this many end the wait for its trees, so that what is held stays bounded.
MAX_FAILURES = 256


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How trees are gathered. Raises InvalidInput for values out of range."""

    trees: int = 32
    """Trees with samples per batch."""
    group: str = "default"
    """Every group receives every tree."""
    consumer: str | None = None
    """Unique in the group; default host, process and a random part."""
    lease_s: float = 60.0
    """How long a tree stays ours after this process dies, 1..3600 seconds."""
    max_wait_s: float | None = None
    """Give a short batch after waiting this long for a full one; None: wait."""
    allow_empty: bool = False
    """Give a batch that holds only failures, too."""
    prefetch: bool = False
    """Lease trees for the next batch while this one is fetched or worked on, as far as they have ended."""
    timeout_s: float | None = None
    """Raise Stalled when no tree came for so long, greater than 0; None: when none can come any more."""
    ack: Ack = "on_next"
    """What acknowledges a batch: asking for the next one, or only `ack` and `ack_through`."""
    start: Start = "first"
    """Where a group that is new to the run begins: before its first tree, or after its latest."""
    state: Mapping[str, Any] | None = None
    """A saved state to begin from; None: go on where the group is."""
    rank: int | None = None
    """Which of `world` ranks this is, that share batches of `trees` trees; None: a consumer that shares nothing."""
    world: int | None = None
    move_id: str | None = None
    """Set for one of several consumers that load the same state: the group is moved once, and others acknowledge."""

    def __post_init__(self) -> None:
        check_whole("trees", self.trees, 1)
        check_number("lease_s", self.lease_s, 1.0, 3600.0)
        if self.max_wait_s is not None:
            check_number("max_wait_s", self.max_wait_s, 0.0)
        check_timeout(self.timeout_s)
        if not self.group or self.consumer == "":
            raise InvalidInput("group and consumer must have a name")
        if self.ack not in get_args(Ack):
            raise InvalidInput(f"ack must be 'on_next' or 'manual', got {self.ack!r}")
        if self.start not in get_args(Start):
            raise InvalidInput(f"start must be 'first' or 'latest', got {self.start!r}")
        if (self.rank is None) != (self.world is None):
            raise InvalidInput(f"rank and world must be given both or not at all, got {self.rank} and {self.world}")
        if self.rank is not None and self.world is not None and not 0 <= self.rank < self.world:
            raise InvalidInput(f"rank must be 0 to world - 1, got rank {self.rank} of world {self.world}")


class Stream:
    """Batches of one consumer. All methods run on the channel's event loop, one at a time."""

    def __init__(self, channel: Channel, run_id: str, options: BatchOptions) -> None:
        consumer = options.consumer or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._channel = channel
        self._run_id = run_id
        self._options = options
        self._progress = GroupProgress(run_id, options.group)
        if options.state is not None:
            self._progress.seek(options.state, "")  # what is wrong with it is said at once
        shared = options.move_id is not None
        self._leases = Leases(channel, self._progress, consumer, options.lease_s, holds=self.holds, shared=shared)
        self._shares: Shares | None = None
        if options.rank is not None and options.world is not None:
            self._shares = Shares(
                channel,
                self._progress,
                (options.rank, options.world),
                options.trees,
                options.max_wait_s,
                self._patience,
            )
        self._reports = RewardReports(channel, run_id)
        self._handed: list[Held] = []  # out and not known to be settled, in order
        self._batches = 0  # so far
        self._fetch_size = FetchSize()
        self._prefetch = Prefetch(self._leases, self._fetch_size)
        self._opened = False
        self.closed = False

    @property
    def holds(self) -> bool:
        """Whether batches stay with the caller until it acknowledges them, also after the last one has come."""
        return self._options.ack == "manual"

    async def next(self) -> Held | None:
        """Gather the next batch; None when the run is exhausted. Unless the caller acknowledges at times of its own,
        acknowledge the last one before, if it is not settled.

        A lease of the last batch that moved on is logged, not raised: the training step is done, and going on is right.
        """
        if not self.closed:
            await self._open()
        if self._handed and self._options.prefetch:
            # For this batch, and the one after it at once: the service must not wait until this one has come.
            self._fetch_ahead(2)
        if not self.holds:
            await self._settle_handed()
        while not self.closed:
            held = await (self._shares.take(self._reports) if self._shares else self._take())
            if held is None:
                return None
            self._handed = [*self._unsettled(), held]
            if self._options.allow_empty or held.has_samples():
                if self._options.prefetch:
                    self._fetch_ahead(1)
                return held
            for delivery in held.deliveries:
                level = logging.INFO if delivery.tree.status == "filtered" else logging.WARNING
                log.log(level, "task %s ended without a sample: %s", delivery.tree.task_id, delivery.tree.error)
            await self._ack_logging(held)
        return None

    async def ack_through(self, last: Meant) -> None:
        """Acknowledge this batch, or the one that has the tree of this delivery_seq, and all that came before it."""
        lost: list[str] = []
        for held in self._through(last):
            try:
                await held.ack()
            except LeaseLost:
                lost += held.lost
        if lost:
            raise LeaseLost(
                f"the leases of trees {', '.join(lost)} moved on or were given back, so these trees come again; all "
                "others up to this batch are acknowledged"
            )

    async def state(self, last: Meant | None = None) -> State:
        """What the group has acknowledged, and beside it the batches that `ack_through(last)` would acknowledge."""
        await self._open()
        progress = replace(self._progress)
        for held in [] if last is None else self._through(last):
            progress.add(held.done(), held.seen(), held.number if self._shares else 0)
        return progress.state()

    async def load(self, state: Mapping[str, Any], move_id: str | None = None) -> None:
        """Move the group to a saved state, once under a move_id; batches handed out before are over."""
        request = self._progress.seek(state, move_id or uuid.uuid4().hex, by_ranks=self._shares is not None)
        await self._prefetch.close()
        self._prefetch = Prefetch(self._leases, self._fetch_size)
        if self._shares:
            await self._shares.start_again()
        self._progress.take(await self._channel.call("SeekGroup", request, rollout_pb2.GroupPosition))
        self._opened = True
        self._leases.drop()
        for held in self._unsettled():
            held.drop()
        self._handed = []

    async def leave(self, lease_s: float) -> None:
        """End, and give nothing back: others acknowledge what was handed over, within so many seconds."""
        self.closed = True
        await self._prefetch.close()
        if self._shares:
            await self._shares.close()
        await self._leases.leave(lease_s)

    async def close(self) -> None:
        """Give back what is not acknowledged, at once."""
        self.closed = True
        await self._prefetch.close()
        if self._shares:
            await self._shares.close()
        else:
            for held in self._unsettled():
                held.drop()
        await self._leases.close()

    async def _open(self) -> None:
        if self._opened:
            return
        if self._options.state is not None:
            await self.load(self._options.state, self._options.move_id)
            return
        request = rollout_pb2.OpenGroupRequest(
            run_id=self._run_id, group=self._options.group, latest=self._options.start == "latest"
        )
        position = await self._channel.call("OpenGroup", request, rollout_pb2.GroupPosition)
        if position.steps_out and not self._shares:
            raise InvalidInput(
                f"group '{self._options.group}' of run '{self._run_id}' is consumed by ranks, which hold "
                f"{position.steps_out} of its global batches: give rank= and world=, a state, or another group"
            )
        self._progress.take(position)
        self._opened = True

    def _fetch_ahead(self, batches: int) -> None:
        if self._shares:
            self._shares.prefetch()
        else:
            self._prefetch.fill(batches * self._options.trees)

    def _unsettled(self) -> list[Held]:
        return [held for held in self._handed if not held.settled]

    def _through(self, last: Meant) -> list[Held]:
        """Batches that are out, up to the one that is meant. InvalidInput if that is none of this iterator's."""
        handed = self._unsettled()
        if isinstance(last, int):
            number = next((held.number for held in handed if ranges.has(held.done(), last)), None)
            if number is None:
                raise InvalidInput(f"no batch that is out and not acknowledged has the tree of delivery_seq {last}")
        elif last.is_from(self._shares or self._leases):
            number = last.number
        else:
            raise InvalidInput("the batch is another iterator's; these batches can acknowledge their own only")
        return [held for held in handed if held.number <= number]

    async def _settle_handed(self) -> None:
        for held in self._unsettled():
            await self._ack_logging(held)
        self._handed = []

    async def _ack_logging(self, held: Held) -> None:
        try:
            await held.ack()
        except LeaseLost as error:
            log.warning("%s", error)

    async def _take(self) -> LeasedTrees | None:
        held = await self._gather()
        if not held:
            return None
        self._batches += 1
        return LeasedTrees(self._leases, list(held.values()), self._reports, self._batches)

    async def _gather(self) -> dict[str, rollout_pb2.Delivery]:
        """Trees for one batch by tree id: one that comes again while we wait replaces its first, expired, delivery."""
        clock = asyncio.get_running_loop().time
        give_up = None if self._options.max_wait_s is None else clock() + self._options.max_wait_s
        needed = self._options.trees if give_up is None else 0  # at once, before any is acknowledged
        prefetched = await self._prefetch.take(self._options.trees)
        held = {tree_id_of(delivery): delivery for delivery in prefetched}
        patience = self._patience(held)
        while (missing := self._missing(held)) > 0:
            # Asked before leasing, so that no tree can end between the two answers.
            ended = bool(held) and await self._came_to_an_end()
            late = bool(held) and give_up is not None and clock() >= give_up
            wait_s = self._wait_s(ended or late, bool(held), give_up)
            wait_s = patience.at_most(wait_s)
            reply = await self._leases.take(min(missing, self._fetch_size.trees), wait_s, needed)
            self._fetch_size.weigh(reply.deliveries)
            held.update((tree_id_of(delivery), delivery) for delivery in reply.deliveries)
            if reply.exhausted or ((ended or late) and not reply.deliveries):
                break
            if reply.deliveries:
                patience.renew()
            else:
                await patience.nothing_came(holding=bool(held))
        return held

    def _patience(self, held: Mapping[str, rollout_pb2.Delivery] | None = None) -> Patience:
        """For the wait for a batch of which these trees have come."""
        return Patience(
            self._status,
            self._options.timeout_s,
            self._channel.absence.clock,
            lambda status: self._in_vain(status, _with_samples((held or {}).values())),
        )

    def _in_vain(self, status: RunStatus, held: int) -> str:
        """Why a batch of which so many trees have come will never be full: what it needs may not start before trees
        are acknowledged that this iterator's caller has. "" if others hold some."""
        ahead, mine = status.config.get("ahead"), held + sum(batch.trees for batch in self._unsettled())
        if ahead is None or mine < ahead or status.growing or status.waits_for_group != self._options.group:
            return ""
        return (
            f"these batches have {mine} trees that are not acknowledged, and the run grows {ahead} ahead: acknowledge "
            f"some before asking for more, or create the run with a larger ahead"
        )

    def _missing(self, held: dict[str, rollout_pb2.Delivery]) -> int:
        """Trees to ask for; 0 when the batch is full."""
        good = _with_samples(held.values())
        return 0 if len(held) - good >= MAX_FAILURES else self._options.trees - good

    def _wait_s(self, at_once: bool, filling: bool, give_up: float | None) -> float:
        if at_once:
            return 0.0
        wait_s = FILLING_WAIT_S if filling else IDLE_WAIT_S
        if filling and give_up is not None:
            wait_s = min(wait_s, max(give_up - asyncio.get_running_loop().time(), 0.0))
        return wait_s

    async def _came_to_an_end(self) -> bool:
        """Whether no more trees will end, for good or until a drain is taken back."""
        status = await self._status()
        return status.ended or status.drained or bool(status.stuck)

    async def _status(self) -> RunStatus:
        run = await self._channel.call("GetRun", rollout_pb2.GetRunRequest(run_id=self._run_id), rollout_pb2.Run)
        return RunStatus.from_proto(run)


def _with_samples(deliveries: Iterable[rollout_pb2.Delivery]) -> int:
    return sum(samples_in(delivery) > 0 for delivery in deliveries)
