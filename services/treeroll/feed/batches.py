"""Hands global batches to ranks. Holds only sizes of trees: batches, shares and acknowledgements are the store's.

Whichever rank asks first for a step has it taken, in one atomic change of the store; all others, and the same rank
after a restart, read what was taken.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from treeroll import clock, ranges
from treeroll.core.model.run import Outlook
from treeroll.errors import UnknownRun
from treeroll.feed.dead_letters import dead_letter, why_too_large, why_unreadable
from treeroll.feed.freshness import Freshness, delivered
from treeroll.feed.position import check_known
from treeroll.feed.reply import REPLY_BYTES, Reply
from treeroll.feed.shares import Member, TreeSize, divided, from_record, member, size_of, to_record
from treeroll.feed.waiting import News, drained
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.base import Step, Store, StoredTree

# As many failed tasks ride along with a batch; more end the wait for its trees, so that it stays bounded.
MAX_FAILURES = 256
# Trees whose size is remembered: those that wait for a batch to fill.
SIZES = 20_000
# Trees that are read at once.
READ_AT_ONCE = 16
NO_SAMPLES = TreeSize("", 0, 0, 0, ())
NO_MORE_BATCHES = api.LeaseBatchReply(exhausted=True).SerializeToString()


class GlobalBatches:
    """Global batches over one store."""

    def __init__(
        self,
        store: Store,
        outlook: Callable[[str], Outlook],
        freshness: Freshness,
        news: News,
        on_withheld: Callable[[str, list[str]], None],
        epoch: int,
    ) -> None:
        """`outlook` says of a run what may still come; `on_withheld` hears of its trees that go without samples.

        `epoch` is the owner's."""
        self._epoch = epoch
        self._store = store
        self._outlook = outlook
        self._freshness = freshness
        self._news = news
        self._on_withheld = on_withheld
        # By when the run was created, too: another run of its name may have other trees of the same ids.
        self._sizes: OrderedDict[tuple[float, str], TreeSize] = OrderedDict()

    async def lease(self, request: api.LeaseBatchRequest, run_created: float) -> bytes:
        """A rank's share of a step; waits up to wait_s for the step to fill. Returns a serialised LeaseBatchReply.

        Drained if the group has all that the run will have before a drain is taken back.
        """
        run_id, group, epoch, world = request.run_id, request.group, request.group_epoch, request.world
        deadline = clock.monotonic() + request.wait_s
        while True:
            # UnknownRun for one that was deleted meanwhile.
            outlook, news = self._outlook(run_id), self._news.of(run_id)
            step = await self._store.find_step(run_id, group, request.step, request.rank, world, epoch)
            if not step.world:
                taken = await self._take(request, run_created, step.number)
                if taken is None:
                    return NO_MORE_BATCHES
                step = taken
            if step.world not in (0, world):
                anew = Step(step.number, world, await asyncio.to_thread(_among, step.record, world))
                step = await self._store.share_step(run_id, group, anew, step.world, epoch)
            if step.world == world:
                return await self._share(request, step)
            if outlook.stuck or not await self._news.wait(news, deadline):
                return b""

    async def ack(self, request: api.AckBatchRequest) -> bool:
        """A rank is done with its share; whether all are."""
        done = await self._store.ack_share(
            request.run_id, request.group, request.step, request.rank, request.world, request.group_epoch
        )
        if done:
            self._news.notify(request.run_id)
        return done

    async def _take(self, request: api.LeaseBatchRequest, run_created: float, number: int) -> Step | None:
        """Take the next step if it is full or nothing more will come; one of no world if not, None if none will be."""
        run_id, group, epoch = request.run_id, request.group, request.group_epoch
        # Asked before what is available, so that no tree can end between the two answers.
        outlook, entries = self._outlook(run_id), await self._store.feed_length(run_id)
        window = request.trees + MAX_FAILURES
        found = await self._store.available(run_id, group, window, epoch)
        ended = not found.on_lease and (entries == outlook.total or (outlook.drained and entries == outlook.ended))
        if ended and not found.entries:
            # Another rank may have taken them for this step since it was looked for.
            step = await self._store.find_step(run_id, group, number, request.rank, request.world, epoch)
            if step.world:
                return step
            if outlook.drained:
                raise drained(run_id, outlook)
            return None
        trees = await self._members(run_id, run_created, found.entries)
        # Before the step is full: it could not become so if these kept others from growing.
        self._on_withheld(run_id, [tree.tree_id for tree in trees if tree.withheld])
        full, upto = _upto(trees, request.trees)
        some = any(tree.samples for tree in trees)
        # A run that is stuck has no more trees with samples: what there is comes short, before consumers are told.
        if not (full or ended or ((request.short or outlook.stuck) and some) or len(trees) == window):
            return Step(number)
        chosen = trees[:upto]
        record = await asyncio.to_thread(lambda: to_record(divided(chosen, request.world)))
        step = Step(number, request.world, record)
        taken = await self._store.take_step(run_id, group, step, [tree.seq for tree in chosen], epoch)
        if taken is None:  # somebody else took some of these
            return await self._take(request, run_created, number)
        if taken.taken_now:
            for tree in chosen:
                self._freshness.count(run_id, tree.standing, first=True)
        return taken

    async def _members(self, run_id: str, run_created: float, entries: Sequence[tuple[int, str]]) -> list[Member]:
        """Trees that may be taken, as they are now."""
        unknown = [tree_id for _, tree_id in entries if (run_created, tree_id) not in self._sizes]
        for at in range(0, len(unknown), READ_AT_ONCE):
            names = unknown[at : at + READ_AT_ONCE]
            sizes = await asyncio.to_thread(_sizes, await self._read(run_id, names))
            self._sizes.update(zip([(run_created, name) for name in names], sizes, strict=True))
        known = [self._sizes[run_created, tree_id] for _, tree_id in entries]
        while len(self._sizes) > SIZES:
            self._sizes.popitem(last=False)
        terms = self._freshness.terms(run_id)
        return [member(*entry, size, terms) for entry, size in zip(entries, known, strict=True)]

    async def _share(self, request: api.LeaseBatchRequest, step: Step) -> bytes:
        trees = await asyncio.to_thread(from_record, step.record)
        check_known(request.run_id, max((tree.seq for tree in trees), default=0), self._outlook(request.run_id))
        share = [tree for tree in trees if tree.rank == request.rank]
        terms = self._freshness.terms(request.run_id)
        reply, first = Reply(stored=True, epoch=self._epoch), request.first
        while first < len(share) and reply.size <= REPLY_BYTES:
            part = share[first : first + READ_AT_ONCE]
            for tree, stored in zip(part, await self._read(request.run_id, [t.tree_id for t in part]), strict=True):
                if reply.size <= REPLY_BYTES:
                    whole = stored if tree.samples else await asyncio.to_thread(_letter, tree.tree_id, stored)
                    reply.add_unleased(tree.seq, tree.tree_id, delivered(whole, tree.standing, terms))
            first += len(part)
        return (
            reply.serialised()
            + api.LeaseBatchReply(
                step=step.number,
                share_trees=len(share),
                global_trees=sum(tree.samples > 0 for tree in trees),
                global_samples=sum(tree.samples for tree in trees),
                global_tokens=sum(tree.tokens for tree in trees),
                owner_epoch=self._epoch,
                global_seqs=[api.SeqRange(first=a, last=b) for a, b in ranges.of(tree.seq for tree in trees)],
            ).SerializeToString()
        )

    async def _read(self, run_id: str, tree_ids: list[str]) -> list[StoredTree]:
        found = []
        for tree_id, stored in zip(tree_ids, await self._store.load_trees(tree_ids), strict=True):
            if stored is None:
                raise UnknownRun(f"tree {tree_id} of run '{run_id}' is gone from the store")
            found.append(stored)
        return found


def _among(record: bytes, world: int) -> bytes:
    return to_record(divided(from_record(record), world))


def _sizes(trees: Sequence[StoredTree]) -> list[TreeSize]:
    return [_size(tree) for tree in trees]


def _size(tree: StoredTree) -> TreeSize:
    """Of a tree that cannot be delivered: none, as of a task without a sample."""
    if why_too_large(tree):
        return NO_SAMPLES
    try:
        return size_of(tree)
    except Exception:  # whatever it is, the other trees have no part in it
        return NO_SAMPLES


def _letter(tree_id: str, tree: StoredTree) -> StoredTree:
    """A tree without samples, or what goes in its place if it has none because it cannot be delivered."""
    why = why_too_large(tree) or why_unreadable(tree)
    return dead_letter(tree_id, tree, why) if why else tree


def _upto(trees: Sequence[Member], wanted: int) -> tuple[bool, int]:
    """Whether so many trees with samples are there, and how many of these that takes."""
    good = 0
    for place, tree in enumerate(trees, 1):
        good += tree.samples > 0
        if good == wanted:
            return True, place
    return False, len(trees)
