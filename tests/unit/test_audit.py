"""The audit finds what it is there to find."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from treeroll.coordinator import records
from treeroll.coordinator.audit import audit, tree_findings
from treeroll.coordinator.audit_caps import Caps
from treeroll.pb.v1 import common_pb2 as pb
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
        (lambda t: setattr(t.nodes[2], "logprobs", np.full(3, np.nan, "<f4").tobytes()), "TreeWellFormed"),
        (lambda t: setattr(t.nodes[2], "token_ids", np.full(3, -1, "<i4").tobytes()), "TreeWellFormed"),
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


def run_of(leaves: int = 8, ledger: pb.Ledger | None = None, **budget: int) -> records.api.Run:
    """Its trees may have so many leaves, and use so much."""
    config = json.dumps({"leaves": leaves, "budget": budget})
    return records.api.Run(run_id="r", config_json=config, ledger=ledger or sound_tree().ledger)


def cap(resource: str, limit: int, spent: int, outstanding: int = 0) -> records.api.Cap:
    return records.api.Cap(resource=resource, limit=limit, spent=spent, outstanding=outstanding)


def used_tree() -> pb.Tree:
    """Two initial branches, of which one called a tool and was forked behind its answer; a fork at the prompt."""
    tree = sound_tree()
    tree.nodes.extend([node(3, 1, 9, 3), node(4, 0, 5, 2), node(5, 0, 5, 2)])
    for number, (sibling, reason) in enumerate([(0, "initial"), (0, "initial"), (1, "fork"), (1, "initial")], 1):
        tree.nodes[number].sibling_index, tree.nodes[number].branch_reason = sibling, reason
    tree.nodes[5].sibling_index, tree.nodes[5].branch_reason = 2, "fork"
    for leaf in (3, 4):
        tree.nodes[leaf].status = "leaf"
    tree.nodes[1].observation_tokens = 2
    return tree


def broken(run: records.api.Run, *trees: pb.Tree, ended: bool = True) -> list[str]:
    caps = Caps.of(run)
    found = [detail for tree in trees for _, detail in caps.add(tree)]
    return found + [detail for _, detail in caps.findings(ended)]


def test_a_run_within_its_caps_has_no_findings() -> None:
    run = run_of(leaves=3, tree_tokens=7, task_tokens=14)
    run.caps.extend([cap("tokens", 14, 14), cap("leaves", 6, 6), cap("expansions", 4, 4), cap("tool_calls", 9, 2)])
    assert broken(run, used_tree(), used_tree()) == []


def test_what_a_damaged_growth_used_is_in_no_tree_and_in_the_account_all_the_same() -> None:
    run = run_of()
    run.caps.extend([cap("leaves", 9, 5), cap("expansions", 9, 3), cap("tool_calls", 9, 2)])
    assert len(broken(run, used_tree())) == 3
    run.damaged = 1
    assert broken(run, used_tree()) == []
    assert broken(run, used_tree(), used_tree()) == [
        "run r: its trees have 6 leaves, its account 5 of 9",
        "run r: its trees have 4 expansions, its account 3 of 9",
    ]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"leaves": 2}, "tree t has 3 leaves and may have 2"),
        ({"tree_tokens": 6}, "tree t spent 7 tokens and may spend 6"),
        ({"task_tokens": 13}, "run r: task a spent 14 tokens and may spend 13"),
    ],
)
def test_trees_and_tasks_above_their_caps_are_named(change: dict[str, int], detail: str) -> None:
    assert detail in broken(run_of(**change), used_tree(), used_tree())


@pytest.mark.parametrize(
    ("account", "detail"),
    [
        (cap("tokens", 20, 18, 3), "18 tokens are spent and 3 set aside of 20"),
        (cap("leaves", 5, 5), "its trees have 6 leaves, its account 5 of 5"),
        (cap("leaves", 9, 5), "its trees have 6 leaves, its account 5 of 9"),
        (cap("expansions", 9, 5), "its trees have 4 expansions, its account 5 of 9"),
        (cap("tool_calls", 9, 0), "its trees have 2 tool_calls, its account 0 of 9"),
    ],
)
def test_accounts_above_a_cap_or_unlike_what_the_trees_have_are_named(account: records.api.Cap, detail: str) -> None:
    run = run_of()
    run.caps.append(account)
    assert broken(run, used_tree(), used_tree()) == [f"run r: {detail}"]


def test_a_run_that_goes_on_may_have_more_than_its_record_but_not_more_than_its_cap() -> None:
    run = run_of()
    run.caps.append(cap("leaves", 6, 4))
    assert broken(run, used_tree(), used_tree(), ended=False) == []
    run.caps[0].limit = 5
    assert broken(run, used_tree(), used_tree(), ended=False) == ["run r: its trees have 6 leaves, its account 4 of 5"]


def test_what_engines_decode_beyond_reservations_is_no_finding_up_to_the_declared_overshoot() -> None:
    tree = used_tree()
    tree.ledger.excess = 4 * 32  # its four branches
    run = run_of(tree_tokens=1, task_tokens=1, ledger=tree.ledger)
    run.caps.append(cap("tokens", 1, 7))
    assert broken(run, tree) == []
    tree.ledger.excess += 1
    assert broken(run, tree) == ["tree t: 129 tokens overran reservations, 128 may"]
    tree.ledger.excess = 0
    assert len(broken(run_of(tree_tokens=1, task_tokens=1), tree)) == 2
