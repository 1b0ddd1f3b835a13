"""The audit finds what it is there to find."""

from collections.abc import Callable

import numpy as np
import pytest

from treeroll import records
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.store.audit import audit, tree_findings
from treeroll.store.base import Commit
from treeroll.store.memory import MemoryStore


def node(number: int, parent: int, start: int, tokens: int, **more: object) -> pb.Node:
    made = pb.Node(number=number, parent=parent, depth=number, token_start=start, status="inner", **more)
    made.token_ids = np.zeros(tokens, "<i4").tobytes()
    if number:
        made.logprobs = np.zeros(tokens, "<f4").tobytes()
        made.weight_versions.add(version=0, tokens=tokens)
    return made


def sound_tree() -> pb.Tree:
    """Root, a segment of 4 tokens, a leaf of 3."""
    tree = pb.Tree(tree_id="t", run_id="r", task_id="a", status="complete")
    tree.nodes.extend([node(0, 0, 0, 5), node(1, 0, 5, 4), node(2, 1, 9, 3)])
    tree.nodes[2].status = "leaf"
    tree.ledger.CopyFrom(pb.Ledger(granted=20, spent=7, returned=13))
    tree.leaves.add(leaf=2, reward=1.0, reward_status="ok")
    return tree


def test_a_sound_tree_has_no_findings() -> None:
    assert list(tree_findings(sound_tree())) == []


def damage(change: Callable[[pb.Tree], object]) -> list[str]:
    tree = sound_tree()
    change(tree)
    return [name for name, _ in tree_findings(tree)]


@pytest.mark.parametrize(
    ("change", "invariant"),
    [
        (lambda t: t.nodes.__delitem__(1), "NoAckedLoss"),
        (lambda t: setattr(t.nodes[2], "token_start", 8), "TreeWellFormed"),
        (lambda t: setattr(t.nodes[2], "logprobs", b""), "TreeWellFormed"),
        (lambda t: setattr(t.nodes[1], "depth", 2), "TreeWellFormed"),
        (lambda t: setattr(t.nodes[1].weight_versions[0], "tokens", 1), "TreeWellFormed"),
        (lambda t: setattr(t.ledger, "returned", 12), "TokensConserved"),
        (lambda t: setattr(t.nodes[2], "dropped_tokens", 1), "TokensConserved"),
        (lambda t: t.leaves.add(leaf=1), "RewardOnce"),
        (lambda t: setattr(t, "status", "failed"), "TreeWellFormed"),
    ],
)
def test_each_kind_of_damage_is_named(change: Callable[[pb.Tree], object], invariant: str) -> None:
    assert invariant in damage(change)


async def test_a_tree_that_ended_but_never_reached_the_feed_is_found() -> None:
    store = MemoryStore()
    epoch = await store.open()
    tree = sound_tree()
    nodes = [(n.number, n.SerializeToString()) for n in tree.nodes]
    run = records.api.Run(run_id="r", state="closed", submitted=1, finished=1, ledger=tree.ledger)
    commit = Commit(
        runs={"r": run.SerializeToString()},
        trees={"t": records.header_of(tree)},
        nodes={"t": nodes},
        tasks={"r": {"0:a": ("t", "digest")}},
    )
    await store.commit(commit, epoch)
    [(invariant, detail)] = (await audit(store)).violations
    assert invariant == "DeliveredOnceAcked"
    assert "tree t ended but is not in the feed" in detail
    await store.commit(Commit(feed=[("r", "t")]), epoch)
    assert (await audit(store)).violations == []
