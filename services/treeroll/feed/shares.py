"""Shares of a global batch: whole trees for each rank, so that ranks have about equally many tokens. Pure."""

import heapq
import json
from collections.abc import Sequence
from typing import NamedTuple

from treeroll.core.model.run import DeliveryTerms
from treeroll.feed.freshness import FILTERED, Standing, standing, trained_versions
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.records.assemble import assemble
from treeroll.store.base import StoredTree


class TreeSize(NamedTuple):
    """How large a tree is for a trainer, and how old."""

    model: str
    samples: int
    """Complete leaves; 0: its task ended without any."""
    unique_tokens: int
    """Tokens on paths of samples, the prompt included, each once."""
    tokens: int
    """Tokens that the model sampled, once for each sample that has them."""
    versions: tuple[int, ...]
    """The oldest and the newest weights of trained tokens; empty without any."""


class Member(NamedTuple):
    """A tree of a global batch, as it was when the batch was taken."""

    seq: int
    tree_id: str
    rank: int
    samples: int
    """0 as well for a tree that is withheld."""
    unique_tokens: int
    tokens: int
    weight_version: int
    """In force in its pool."""
    behind: int | None
    """By how many versions; None without samples."""
    withheld: bool

    @property
    def standing(self) -> Standing:
        """How it stood."""
        return Standing(self.weight_version, self.behind, self.withheld)


def size_of(stored: StoredTree) -> TreeSize:
    """Read a tree's records for its size."""
    header = pb.Tree.FromString(stored.header)
    if not header.leaves or header.status == FILTERED:
        return TreeSize(header.model, 0, 0, 0, ())
    tree = assemble(stored)
    unique = tokens = 0
    for node in tree.nodes:
        if not node.n_leaves:
            continue
        length = len(node.token_ids) // 4
        unique += length
        if node.number and not node.HasField("model"):
            tokens += node.n_leaves * (length - node.inserted_tokens - node.observation_tokens)
    versions = trained_versions(tree)
    edges = (min(versions), max(versions)) if versions else ()
    return TreeSize(tree.model, len(tree.leaves), unique, tokens, edges)


def member(seq: int, tree_id: str, size: TreeSize, terms: DeliveryTerms) -> Member:
    """A tree that may be taken now; of no rank yet."""
    if not size.samples:
        return Member(seq, tree_id, -1, 0, 0, 0, terms.versions.get(size.model, 0), None, False)
    judged = standing(size.model, size.versions, terms)
    figures = (0, 0, 0) if judged.withheld else (size.samples, size.unique_tokens, size.tokens)
    return Member(seq, tree_id, -1, *figures, *judged)


def divided(members: Sequence[Member], world: int) -> list[Member]:
    """The same trees in order of the feed, each with its rank.

    The largest first, each to the rank that has the fewest tokens so far: no rank has more than 4/3 - 1/(3 world) of
    what the best division would give it (Graham 1969, doi:10.1137/0117039).
    """
    ranks: dict[int, int] = {}
    loads = [(0, rank) for rank in range(world)]
    for tree in sorted(members, key=lambda tree: (-tree.unique_tokens, tree.seq)):
        load, rank = loads[0]
        ranks[tree.seq] = rank
        heapq.heapreplace(loads, (load + tree.unique_tokens, rank))
    return [tree._replace(rank=ranks[tree.seq]) for tree in sorted(members)]


def to_record(members: Sequence[Member]) -> bytes:
    """A global batch as the store keeps it."""
    return json.dumps(members, separators=(",", ":")).encode()


def from_record(record: bytes) -> list[Member]:
    """Read it from the store."""
    return [Member(*row) for row in json.loads(record)]
