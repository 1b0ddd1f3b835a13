"""Stream: gathers leased trees into batches. The one implementation behind the sync and the async iterator."""

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from treeroll.client.channel import Channel
from treeroll.client.credit import RewardReports
from treeroll.client.fetch_size import FetchSize
from treeroll.client.leases import Leases
from treeroll.client.patience import Patience, check_timeout
from treeroll.client.prefetch import Prefetch
from treeroll.client.records import samples_in, tree_id_of
from treeroll.client.status import RunStatus
from treeroll.errors import InvalidInput, LeaseLost
from treeroll.pb.v1 import rollout_pb2

log = logging.getLogger(__name__)

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

    def __post_init__(self) -> None:
        if self.trees < 1:
            raise InvalidInput(f"trees must be 1 or more, got {self.trees}")
        if not 1.0 <= self.lease_s <= 3600.0:
            raise InvalidInput(f"lease_s must be 1 to 3600 seconds, got {self.lease_s}")
        if self.max_wait_s is not None and not self.max_wait_s >= 0:
            raise InvalidInput(f"max_wait_s must be 0 or more, got {self.max_wait_s}")
        check_timeout(self.timeout_s)
        if not self.group or self.consumer == "":
            raise InvalidInput("group and consumer must have a name")


class LeasedTrees:
    """The leased trees of one batch: settled once, by acknowledging them or by giving them back."""

    def __init__(self, leases: Leases, deliveries: Sequence[rollout_pb2.Delivery], reports: RewardReports) -> None:
        self._leases = leases
        self.reports = reports
        self._ids = {delivery.lease_id: tree_id_of(delivery) for delivery in deliveries}
        self.deliveries = deliveries
        self.settled = False
        self.lost: list[str] = []

    async def ack(self) -> None:
        """Acknowledge all trees. LeaseLost names those whose lease moved on; the others are acknowledged."""
        if not self.settled:
            self.lost = await self._leases.ack(self._ids)
            self.settled = True
        if self.lost:
            others = len(self._ids) - len(self.lost)
            raise LeaseLost(
                f"the leases of trees {', '.join(self.lost)} moved on or were given back, so these trees come again; "
                f"the other {others} of the batch are acknowledged"
            )

    async def release(self) -> None:
        """Give all trees back, unless they are settled."""
        if not self.settled:
            self.settled = True
            self.lost = list(self._ids.values())
            await self._leases.release(self._ids)


class Stream:
    """Batches of one consumer. All methods run on the channel's event loop, one at a time."""

    def __init__(self, channel: Channel, run_id: str, options: BatchOptions) -> None:
        consumer = options.consumer or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._channel = channel
        self._run_id = run_id
        self._options = options
        self._leases = Leases(channel, run_id, options.group, consumer, options.lease_s)
        self._reports = RewardReports(channel, run_id)
        self._last: LeasedTrees | None = None
        self._fetch_size = FetchSize()
        self._prefetch = Prefetch(self._leases, self._fetch_size)
        self.closed = False

    async def next(self) -> LeasedTrees | None:
        """Acknowledge the last batch unless it is settled, and gather the next one; None when the run is exhausted.

        A lease of the last batch that moved on is logged, not raised: the training step is done, and going on is right.
        """
        if self._last is not None and self._options.prefetch:
            # For this batch, and the one after it at once: the service must not wait until this one has come.
            self._prefetch.fill(2 * self._options.trees)
        await self._settle_last()
        while not self.closed:
            held = await self._gather()
            if not held:
                return None
            leased = LeasedTrees(self._leases, list(held.values()), self._reports)
            self._last = leased
            if self._options.allow_empty or any(samples_in(delivery) for delivery in leased.deliveries):
                if self._options.prefetch:
                    self._prefetch.fill(self._options.trees)
                return leased
            for delivery in leased.deliveries:
                level = logging.INFO if delivery.tree.status == "filtered" else logging.WARNING
                log.log(level, "task %s ended without a sample: %s", delivery.tree.task_id, delivery.tree.error)
            await self._settle_last()
        return None

    async def close(self) -> None:
        """Give back what is not acknowledged, at once."""
        self.closed = True
        await self._prefetch.close()
        if self._last is not None:
            await self._last.release()
        await self._leases.close()

    async def _settle_last(self) -> None:
        if self._last is None:
            return
        if not self._last.settled:
            try:
                await self._last.ack()
            except LeaseLost as error:
                log.warning("%s", error)
        self._last = None

    async def _gather(self) -> dict[str, rollout_pb2.Delivery]:
        """Trees for one batch by tree id: one that comes again while we wait replaces its first, expired, delivery."""
        clock = asyncio.get_running_loop().time
        give_up = None if self._options.max_wait_s is None else clock() + self._options.max_wait_s
        needed = self._options.trees if give_up is None else 0  # at once, before any is acknowledged
        patience = Patience(self._status, self._options.timeout_s)
        prefetched = await self._prefetch.take(self._options.trees)
        held = {tree_id_of(delivery): delivery for delivery in prefetched}
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

    def _missing(self, held: dict[str, rollout_pb2.Delivery]) -> int:
        """Trees to ask for; 0 when the batch is full."""
        good = sum(samples_in(delivery) > 0 for delivery in held.values())
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
