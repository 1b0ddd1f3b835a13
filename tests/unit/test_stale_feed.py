"""A coordinator that another has taken over from hands on none of the other's trees: it would mark them as its own."""

import pytest

from treeroll.core.model.run import DeliveryTerms, Outlook
from treeroll.errors import Unavailable
from treeroll.feed.feed import Feed
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.base import Commit
from treeroll.store.memory import MemoryStore

LEASE = api.LeaseTreesRequest(run_id="run", group="g", consumer="c", max_trees=2, lease_s=60.0, stored=True)
BATCH = api.LeaseBatchRequest(run_id="run", group="g", world=1, trees=2)


async def feeds() -> tuple[MemoryStore, Feed, Feed]:
    """Of an owner with two trees, of which the one before it knows the first."""
    store = MemoryStore()
    epoch = await store.open()
    headers = {name: pb.Tree(tree_id=name, run_id="run", status="complete").SerializeToString() for name in "ab"}
    await store.commit(Commit(trees=headers, feed=[("run", "a")]), epoch)
    later = await store.open()
    await store.commit(Commit(feed=[("run", "b")]), later)

    def feed(ended: int, owner: int) -> Feed:
        outlook = Outlook(total=2, ended=ended, waiting=0, drained=False, stuck="")
        return Feed(store, lambda _: outlook, lambda _: DeliveryTerms({"": 0}, None), owner)

    return store, feed(2, later), feed(1, epoch)


async def test_who_leases_of_it_is_told_to_ask_again_and_the_owner_has_the_trees_at_once() -> None:
    _, owner, stale = await feeds()
    with pytest.raises(Unavailable, match="another coordinator has taken over: run 'run' has a tree 2"):
        await stale.lease(LEASE)
    reply = api.LeaseTreesReply.FromString(await owner.lease(LEASE))
    assert [(one.tree_id, one.owner_epoch) for one in reply.deliveries] == [("a", 2), ("b", 2)]


async def test_who_asks_it_for_a_share_of_a_batch_is_told_to_ask_again() -> None:
    _, owner, stale = await feeds()
    assert api.LeaseBatchReply.FromString(await owner.batches.lease(BATCH, 0.0)).share_trees == 2
    with pytest.raises(Unavailable, match="another coordinator has taken over"):
        await stale.batches.lease(BATCH, 0.0)


async def test_a_state_that_is_saved_under_it_is_taken_back_by_the_owner() -> None:
    """Or it is not saved."""
    store, owner, stale = await feeds()
    reply = api.LeaseTreesReply.FromString(await owner.lease(LEASE))
    await store.ack("run", "g", [one.lease_id for one in reply.deliveries])
    with pytest.raises(Unavailable, match="another coordinator has taken over"):
        await stale.open_group(api.OpenGroupRequest(run_id="run", group="g"), 0.0)
    saved = await owner.open_group(api.OpenGroupRequest(run_id="run", group="g"), 0.0)
    marks = [api.FeedMark(owner_epoch=saved.owner_epoch, last=2)]
    seek = api.SeekGroupRequest(run_id="run", group="g", acknowledged=saved.acknowledged, move_id="m", seen=marks)
    assert (await owner.seek(seek, 0.0)).epoch == 1
