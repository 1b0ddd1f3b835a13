"""Division of a global batch among ranks, and the sizes that it goes by."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.trees import failed_tree, sample_tree

from treeroll.client.sample import samples_of
from treeroll.core.model.run import DeliveryTerms, StalenessBound
from treeroll.feed.shares import Member, TreeSize, divided, from_record, member, size_of, to_record
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.store.base import StoredTree

TERMS = DeliveryTerms({"": 5}, StalenessBound(1))


def members(tokens: list[int]) -> list[Member]:
    return [Member(seq, f"t{seq}", -1, 1, size, size, 0, 0, False) for seq, size in enumerate(tokens, 1)]


def loads(shared: list[Member], world: int) -> list[int]:
    return [sum(tree.unique_tokens for tree in shared if tree.rank == rank) for rank in range(world)]


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(1, 4))
def test_every_tree_has_one_rank_and_no_rank_much_more_than_the_best_division(tokens: list[int], world: int) -> None:
    shared = divided(members(tokens), world)
    assert [tree._replace(rank=-1) for tree in shared] == members(tokens)
    assert all(0 <= tree.rank < world for tree in shared)
    best = min(
        max(sum(size for size, owner in zip(tokens, owners, strict=True) if owner == rank) for rank in range(world))
        for owners in itertools.product(range(world), repeat=len(tokens))
    )
    assert max(loads(shared, world)) <= best * (4 / 3 - 1 / (3 * world)) + 1e-9
    assert from_record(to_record(shared)) == shared
    assert divided(shared[::-1], world) == shared


def test_the_largest_go_first() -> None:
    shared = divided(members([3, 9, 4, 4, 2]), 2)
    assert [tree.rank for tree in shared] == [1, 0, 1, 1, 0]
    assert loads(shared, 2) == [11, 11]


def stored(tree: pb.Tree) -> StoredTree:
    """As a store has it: header, and nodes by number."""
    nodes = sorted(tree.nodes, key=lambda node: node.number)
    header = pb.Tree()
    header.CopyFrom(tree)
    del header.nodes[:]
    return StoredTree(header.SerializeToString(), [node.SerializeToString() for node in nodes], {})


def test_a_size_counts_what_trainers_count() -> None:
    tree = sample_tree()
    size = size_of(stored(tree))
    samples = samples_of(tree)
    assert size == TreeSize("", 2, 3 + 2 + 3 + 1, sum(int(sample.model_mask.sum()) for sample in samples), (3, 3))
    assert size_of(stored(failed_tree("t", "a"))) == TreeSize("", 0, 0, 0, ())


def test_a_tree_that_is_too_old_is_withheld_and_counts_as_none() -> None:
    size = TreeSize("", 2, 9, 7, (3, 4))
    assert member(1, "t", size, TERMS) == Member(1, "t", -1, 0, 0, 0, 5, 2, True)
    fresh = size._replace(versions=(4, 5))
    assert member(1, "t", fresh, TERMS) == Member(1, "t", -1, 2, 9, 7, 5, 1, False)
    by_newest = DeliveryTerms({"": 5}, StalenessBound(1, by_newest=True))
    assert not member(1, "t", size, by_newest).withheld
    assert member(1, "t", TreeSize("", 0, 0, 0, ()), TERMS) == Member(1, "t", -1, 0, 0, 0, 5, None, False)


@pytest.mark.parametrize("world", [1, 3])
def test_ranks_may_have_nothing(world: int) -> None:
    assert divided([], world) == []
    assert [tree.rank for tree in divided(members([5]), world)] == [0]
