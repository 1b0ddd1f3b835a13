"""Shares: one rank's part of the global batches that a group's ranks take together.

The trees of a step are the step's until all ranks have acknowledged it: there is nothing to renew or to give back, and
a rank that comes back gets the share that it had.
"""

import asyncio
from collections.abc import Callable

from treeroll.client.channel import Channel
from treeroll.client.credit import RewardReports
from treeroll.client.patience import Patience
from treeroll.client.progress import GroupProgress, Origin
from treeroll.errors import Stalled, TreerollError
from treeroll.pb.v1 import rollout_pb2
from treeroll.ranges import Range

# How long the service waits for a step to fill before it is asked again.
WAIT_S = 10.0

Parts = list[rollout_pb2.LeaseBatchReply]
"""A share as it comes, in one message or more."""


class LeasedShare:
    """A rank's share of one step, and the right to acknowledge it."""

    def __init__(self, shares: "Shares", parts: Parts, reports: RewardReports) -> None:
        self._shares = shares
        self.reports = reports
        self.whole: rollout_pb2.LeaseBatchReply | None = parts[0]
        """Of the whole step: its numbers of trees, samples and tokens, and its trees' places in the feed."""
        self.number = parts[0].step
        self._done = [(pair.first, pair.last) for pair in parts[0].global_seqs]
        self._owner_epoch = parts[0].owner_epoch
        self._samples = parts[0].global_samples
        self.deliveries = [delivery for part in parts for delivery in part.deliveries]
        self.trees = parts[0].global_trees
        """Of the whole step, with samples: it keeps all until all ranks are done."""
        self.settled = False
        self.lost: list[str] = []

    def origin(self) -> Origin:
        """Whose it is."""
        return self._shares.origin()

    def hand_over(self) -> None:
        """Somebody else settles it."""
        self.settled = True

    def is_from(self, holder: object) -> bool:
        """Whether it is one of these shares."""
        return self._shares is holder

    def has_samples(self) -> bool:
        """Whether the step has any; the same for all ranks."""
        return self._samples > 0

    def done(self) -> list[Range]:
        """What of the feed is done with it: the whole step, for when all ranks are."""
        return self._done

    def seen(self) -> dict[int, int]:
        """Where the step came from, as in `GroupProgress.seen`."""
        return {self._owner_epoch: self._done[-1][1]}

    async def ack(self) -> None:
        """This rank is done. ShareConflict if the step has other ranks by now."""
        if not self.settled:
            await self._shares.ack(self.number)
            self.settled = True
            self._shares.progress.add(self.done(), self.seen(), self.number)

    async def release(self) -> None:
        """Nothing to do: the share stays this rank's."""

    def drop(self) -> None:
        """Hold nothing any more: the group was moved."""
        self.settled = True


class Shares:
    """The shares of one rank, step by step. All methods run on the channel's event loop."""

    def __init__(
        self,
        channel: Channel,
        progress: GroupProgress,
        place: tuple[int, int],
        trees: int,
        max_wait_s: float | None,
        patience: Callable[[], Patience],
    ) -> None:
        """Shares of rank and world, of steps of so many trees, or after a wait of so many seconds, of fewer."""
        self._channel = channel
        self.progress = progress
        self._rank, self._world = place
        self._trees = trees
        self._max_wait_s = max_wait_s
        self._patience = patience
        self._step = 0  # the last one that came; 0: ask which is this rank's first
        self._coming: asyncio.Task[Parts | None] | None = None

    async def take(self, reports: RewardReports) -> LeasedShare | None:
        """The next step's share; None when there will be no more steps."""
        ahead = self._coming is not None
        try:
            parts = await self.prefetch()
        except Stalled:
            if not ahead:
                raise
            self._coming = None  # nobody waited yet: the time begins now
            parts = await self.prefetch()
        finally:
            self._coming = None
        if parts is None:
            return None
        self._step = parts[0].step
        return LeasedShare(self, parts, reports)

    def prefetch(self) -> "asyncio.Task[Parts | None]":
        """Fetch the next share, while this one is worked on."""
        if self._coming is None:
            fetch = self._fetch(self._step and self._step + 1)
            self._coming = asyncio.create_task(fetch, name="treeroll share")
        return self._coming

    async def start_again(self) -> None:
        """Go on with this rank's first step that it has not acknowledged: the group was moved."""
        await self.close()
        self._step = 0

    def origin(self) -> Origin:
        """Whose shares these are."""
        progress = self.progress
        return Origin(progress.run_id, progress.group, progress.epoch, self._rank, self._world)

    async def ack(self, step: int) -> None:
        """Be done with a share."""
        request = rollout_pb2.AckBatchRequest(
            run_id=self.progress.run_id,
            group=self.progress.group,
            group_epoch=self.progress.epoch,
            step=step,
            rank=self._rank,
            world=self._world,
        )
        await self._channel.call("AckBatch", request, rollout_pb2.AckBatchReply)

    async def close(self) -> None:
        """Fetch no more."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
            self._coming = None

    async def _fetch(self, step: int) -> Parts | None:
        """A step's share, 0 being this rank's first; None when there will be no such step."""
        clock = asyncio.get_running_loop().time
        give_up = None if self._max_wait_s is None else clock() + self._max_wait_s
        parts: Parts = []
        patience = self._patience()
        while True:
            left = WAIT_S if give_up is None else max(give_up - clock(), 0.0)
            late = give_up is not None and not left
            wait_s = patience.at_most(WAIT_S if late else min(left, WAIT_S))
            reply = await self._ask(step, wait_s, late, sum(map(_trees, parts)))
            if reply.exhausted:
                return None
            if not reply.step:
                await patience.nothing_came(holding=False, missing="no full batch")
                continue
            step = reply.step
            parts.append(reply)
            if sum(map(_trees, parts)) >= reply.share_trees:
                return parts
            if not reply.deliveries:
                raise TreerollError(
                    f"the service gave {sum(map(_trees, parts))} of {reply.share_trees} trees of a share"
                )

    async def _ask(self, step: int, wait_s: float, short: bool, first: int) -> rollout_pb2.LeaseBatchReply:
        request = rollout_pb2.LeaseBatchRequest(
            run_id=self.progress.run_id,
            group=self.progress.group,
            group_epoch=self.progress.epoch,
            step=step,
            rank=self._rank,
            world=self._world,
            trees=self._trees,
            wait_s=wait_s,
            short=short,
            first=first,
        )
        return await self._channel.call("LeaseBatch", request, rollout_pb2.LeaseBatchReply, extra_s=wait_s)


def _trees(part: rollout_pb2.LeaseBatchReply) -> int:
    return len(part.deliveries)
