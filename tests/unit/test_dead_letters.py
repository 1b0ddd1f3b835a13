"""Trees that nobody could read, or that fit into no message, are delivered as failures: once, and with the reason."""

from array import array

import pytest

from treeroll.core.model.run import DeliveryTerms, Outlook
from treeroll.feed import dead_letters
from treeroll.feed.dead_letters import dead_letter, why_too_large, why_unreadable
from treeroll.feed.feed import Feed
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.base import Commit, StoredTree
from treeroll.store.memory import MemoryStore


def tree(name: str, logprobs: bytes | None = None, node: bytes | None = None) -> StoredTree:
    """A prompt and a leaf of two tokens."""
    head = pb.Tree(tree_id=name, run_id="r", task_id=f"task of {name}", status="complete", n_scored=1)
    head.leaves.add(leaf=1, path_weight=1.0)
    root = pb.Node(status="inner", token_ids=bytes(8))
    leaf = pb.Node(number=1, depth=1, token_start=2, status="leaf", token_ids=array("i", [5, 6]).tobytes(), text="ab")
    leaf.logprobs = array("f", [-1.0, -1.0]).tobytes() if logprobs is None else logprobs
    leaf.weight_versions.add(tokens=2)
    return StoredTree(head.SerializeToString(), [root.SerializeToString(), node or leaf.SerializeToString()], {})


BAD = {
    "torn": tree("torn", node=b"\x3a\xff"),
    "short": tree("short", logprobs=bytes(4)),
    "nan": tree("nan", logprobs=array("f", [float("nan"), -1.0]).tobytes()),
}


def test_a_sound_tree_is_no_dead_letter() -> None:
    assert (why_unreadable(tree("a")), why_too_large(tree("a"))) == ("", "")


@pytest.mark.parametrize("name", BAD)
def test_a_dead_letter_is_a_failure_with_the_reason(name: str) -> None:
    why = why_unreadable(BAD[name])
    assert why
    letter = dead_letter(name, BAD[name], why)
    assert why_unreadable(letter) == ""
    head = pb.Tree.FromString(letter.header)
    assert (head.tree_id, head.task_id, head.status) == (name, f"task of {name}", "failed")
    assert (head.error, list(head.leaves), len(letter.nodes)) == (f"it cannot be delivered: {why}", [], 1)


def test_a_header_that_is_none_still_makes_a_letter() -> None:
    broken = StoredTree(b"\xff", [b"\xff"], {})
    head = pb.Tree.FromString(dead_letter("a", broken, why_unreadable(broken)).header)
    assert (head.tree_id, head.status) == ("a", "failed")


async def feed_of(**trees: StoredTree) -> tuple[Feed, MemoryStore]:
    store = MemoryStore()
    epoch = await store.open()
    commit = Commit(runs={"r": api.Run(run_id="r", state="closed").SerializeToString()})
    for name, stored in trees.items():
        commit.trees[name], commit.nodes[name] = stored.header, list(enumerate(stored.nodes))
        commit.feed.append(("r", name))
    await store.commit(commit, epoch)
    outlook = Outlook(total=len(trees), ended=len(trees), waiting=0, drained=False, stuck="")
    return Feed(store, lambda _: outlook, lambda _: DeliveryTerms({"": 0}, None), 1), store


def asked(**changes: object) -> api.LeaseTreesRequest:
    fields = {"run_id": "r", "group": "g", "consumer": "c", "max_trees": 8, "lease_s": 10.0, "stored": True}
    return api.LeaseTreesRequest(**{**fields, **changes})


async def test_a_tree_that_its_consumer_could_not_read_comes_again_as_a_failure_and_the_others_whole() -> None:
    feed, store = await feed_of(good=tree("good"), nan=BAD["nan"])
    first = api.LeaseTreesReply.FromString(await feed.lease(asked()))
    await store.release("r", "g", [one.lease_id for one in first.deliveries])
    again = api.LeaseTreesReply.FromString(await feed.lease(asked()))
    status = {one.tree_id: (one.tree.status, one.samples, one.times_delivered) for one in again.deliveries}
    assert status == {"good": ("complete", 1, 2), "nan": ("failed", 0, 2)}
    assert await store.ack("r", "g", [one.lease_id for one in again.deliveries]) == []


async def test_a_torn_tree_is_a_failure_when_it_comes_again_though_the_reply_was_never_made() -> None:
    feed, _ = await feed_of(torn=BAD["torn"])
    with pytest.raises(Exception, match="parsing"):
        await feed.lease(asked(stored=False))
    [one] = api.LeaseTreesReply.FromString(await feed.lease(asked(stored=False))).deliveries
    assert (one.tree.status, one.samples) == ("failed", 0)
    assert "cannot be delivered: its records cannot be read: DecodeError" in one.tree.error


async def test_a_tree_larger_than_a_message_is_a_failure_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "MOST_TREE_BYTES", 100)
    feed, _ = await feed_of(large=tree("large"))
    [one] = api.LeaseTreesReply.FromString(await feed.lease(asked())).deliveries
    assert one.tree.error.startswith("it cannot be delivered: it has ")
    assert one.samples == 0
