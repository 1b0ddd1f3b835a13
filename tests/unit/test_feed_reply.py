"""Replies of the feed, written by hand, against the messages they stand for."""

from tests.unit.test_assemble import stored

from treeroll.feed.freshness import Delivered
from treeroll.feed.reply import Reply
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.records.assemble import as_stored, assemble
from treeroll.store.base import Lease, StoredTree


def written(*trees: StoredTree, as_stored: bool) -> tuple[Reply, api.LeaseTreesReply]:
    reply = Reply(stored=as_stored, epoch=3)
    for seq, tree in enumerate(trees, 1):
        samples = len(pb.Tree.FromString(tree.header).leaves)
        delivered = Delivered(tree, samples, weight_version=7, behind=0, withheld=False)
        reply.add(Lease(f"lease-{seq}", f"tree-{seq}", seq, times_delivered=2), 1.5, delivered)
    return reply, api.LeaseTreesReply.FromString(reply.serialised())


def test_deliveries_read_as_they_were_added() -> None:
    _, read = written(stored(), stored(), as_stored=True)
    tree = as_stored(stored())
    head = {"deadline": 1.5, "times_delivered": 2, "samples": 3, "weight_version": 7, "tree": tree}
    head["owner_epoch"] = 3
    expected = [
        api.Delivery(lease_id=f"lease-{seq}", tree_id=f"tree-{seq}", delivery_seq=seq, **head) for seq in (1, 2)
    ]
    assert list(read.deliveries) == expected


def test_a_caller_that_did_not_ask_for_stored_trees_gets_whole_ones() -> None:
    _, read = written(stored(), as_stored=False)
    assert read.deliveries[0].tree == assemble(stored())


def test_a_task_that_ended_without_a_tree_is_delivered_with_its_error() -> None:
    failed = StoredTree(pb.Tree(tree_id="tree-1", status="failed", error="too long").SerializeToString(), [], {})
    _, read = written(failed, as_stored=True)
    assert read.deliveries[0].samples == 0
    assert read.deliveries[0].tree.error == "too long"


def test_the_size_of_a_reply_is_that_of_its_trees() -> None:
    reply, read = written(stored(), stored(), as_stored=True)
    assert reply.size == sum(delivery.tree.ByteSize() for delivery in read.deliveries)


def test_nothing_leased_is_an_empty_reply() -> None:
    assert Reply(stored=True, epoch=3).serialised() == api.LeaseTreesReply().SerializeToString()
