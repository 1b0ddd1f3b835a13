"""Hands trees to whoever asks for them by name. No group is touched: nothing is leased or acknowledged."""

from collections.abc import Awaitable, Callable

from treeroll import clock
from treeroll.core.model.run import Outlook
from treeroll.errors import Drained, UnknownTree
from treeroll.feed.dead_letters import dead_letter, why_too_large
from treeroll.feed.feed import Feed
from treeroll.feed.reply import REPLY_BYTES, Reply
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.base import Lease, Store, StoredTree

# Trees that are read at once: a reply holds a few of the larger kind.
READ_AT_ONCE = 32
UNENDED = frozenset({"waiting", "growing"})


class Collector:
    """Trees of one store by name, as they end."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        outlook: Callable[[str], Outlook],
        ask: Callable[[str, list[str]], Awaitable[None]],
        has_ended: Callable[[str, str], bool],
    ) -> None:
        """`ask` has the run's trees grown before others; `has_ended` says of a run's tree whether it does not grow."""
        self._store = store
        self._feed = feed
        self._outlook = outlook
        self._ask = ask
        self._has_ended = has_ended

    async def collect(self, request: api.CollectTreesRequest) -> bytes:
        """Those of the trees that have ended; waits up to wait_s for the first. Returns a serialised CollectTreesReply.

        UnknownTree for one that is none of the run's, Drained if none of them grows before a drain is taken back.
        """
        await self._ask(request.run_id, list(request.tree_ids))
        deadline = clock.monotonic() + request.wait_s
        while True:
            outlook, news = self._outlook(request.run_id), self._feed.news(request.run_id)
            ended = [tree_id for tree_id in request.tree_ids if self._has_ended(request.run_id, tree_id)]
            if reply := await self._deliver(request, ended):
                return reply
            if outlook.drained:
                raise Drained("the service drains: none of the trees asked for grows until `treeroll undrain`")
            if outlook.stuck or not await self._feed.wait(news, deadline):
                return b""

    async def _deliver(self, request: api.CollectTreesRequest, tree_ids: list[str]) -> bytes:
        reply, freshness = Reply(stored=request.stored, epoch=self._feed.epoch), self._feed.freshness
        for at in range(0, len(tree_ids), READ_AT_ONCE):
            ended = await self._ended(request.run_id, tree_ids[at : at + READ_AT_ONCE])
            judged = await freshness.judge(request.run_id, list(ended.values()))
            for tree_id, delivered in zip(ended, judged, strict=True):
                reply.add(Lease("", tree_id, 0, 0), 0.0, delivered)
                freshness.count(request.run_id, delivered, first=False)
                if reply.size > REPLY_BYTES:
                    return reply.serialised()
        return reply.serialised()

    async def _ended(self, run_id: str, tree_ids: list[str]) -> dict[str, StoredTree]:
        """Those of the trees that the store knows to have ended: the end of another may be on its way there."""
        found = {}
        for tree_id, tree in zip(tree_ids, await self._store.load_trees(tree_ids), strict=True):
            header = pb.Tree.FromString(tree.header) if tree is not None else None
            if tree is None or header is None or header.run_id != run_id:
                raise UnknownTree(
                    f"run '{run_id}' has no tree '{tree_id}'; if it had, the tree has expired (see "
                    "store.keep_acknowledged_s)"
                )
            if header.status not in UNENDED:
                why = why_too_large(tree)
                found[tree_id] = dead_letter(tree_id, tree, why) if why else tree
        return found
