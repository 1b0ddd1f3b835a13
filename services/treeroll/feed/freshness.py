"""How far trees are behind the weights in force when they are delivered, and which of them are withheld for it."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from treeroll.core.model.run import DeliveryTerms
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.records.assemble import assemble
from treeroll.store.base import StoredTree

# What is dropped when it ends travels like a task without a sample: nobody is to train on it.
FILTERED = "filtered"


class Delivered(NamedTuple):
    """A tree as it is delivered."""

    tree: StoredTree
    samples: int
    weight_version: int
    """In force in its pool."""
    behind: int | None
    """By how many versions; None if it has no samples of its own."""
    withheld: bool


class Standing(NamedTuple):
    """How a tree stands to the weights in force."""

    weight_version: int
    """In force in its pool."""
    behind: int | None
    """By how many versions; None if it has no samples of its own."""
    withheld: bool


class Freshness:
    """Judges trees. Only those that may be behind are read, and elsewhere than on the event loop."""

    def __init__(self, terms: Callable[[str], DeliveryTerms]) -> None:
        self.terms = terms
        self.staleness: defaultdict[str, Counter[int]] = defaultdict(Counter)
        """Of each run, first deliveries by how many versions their trees were behind."""
        self.withheld: Counter[str] = Counter()
        """Of each run, deliveries without samples, for their trees were too old."""

    async def judge(self, run_id: str, trees: Sequence[StoredTree]) -> list[Delivered]:
        """Each tree as it is to be delivered now."""
        terms = self.terms(run_id)
        heads = [pb.Tree.FromString(tree.header) for tree in trees]
        if all(head.weight_version >= _current(head, terms) or not head.leaves for head in heads):
            return [_fresh(tree, head, terms) for tree, head in zip(trees, heads, strict=True)]
        return await asyncio.to_thread(
            lambda: [_judged(tree, head, terms) for tree, head in zip(trees, heads, strict=True)]
        )

    def count(self, run_id: str, delivered: Delivered | Standing, *, first: bool) -> None:
        """The tree is in a reply; `first`: its group had not had it before."""
        if delivered.withheld:
            self.withheld[run_id] += 1
        elif first and delivered.behind is not None and delivered.weight_version:
            self.staleness[run_id][delivered.behind] += 1


def _current(head: pb.Tree, terms: DeliveryTerms) -> int:
    """The version in force in the tree's pool; 0 for a task that ended before it had one."""
    return terms.versions.get(head.model, 0)


def _fresh(tree: StoredTree, head: pb.Tree, terms: DeliveryTerms) -> Delivered:
    """A tree that started under the weights in force, so that its tokens are of these, or one without samples."""
    if head.status == FILTERED:
        del head.leaves[:]
        tree = StoredTree(head.SerializeToString(), tree.nodes[:1], {})
    samples = len(head.leaves)
    return Delivered(tree, samples, _current(head, terms), 0 if samples else None, withheld=False)


def _judged(tree: StoredTree, head: pb.Tree, terms: DeliveryTerms) -> Delivered:
    if not head.leaves or head.status == FILTERED or head.weight_version >= _current(head, terms):
        return _fresh(tree, head, terms)
    return delivered(tree, standing(head.model, trained_versions(assemble(tree)), terms), terms)


def standing(model: str, versions: Collection[int], terms: DeliveryTerms) -> Standing:
    """How a tree of `model` with samples stands, whose trained tokens have these weight versions, or the oldest and the
    newest of them."""
    current, bound = terms.versions.get(model, 0), terms.bound
    newest = bound is not None and bound.by_newest
    behind = max(current - (max if newest else min)(versions, default=current), 0)
    return Standing(current, behind, bound is not None and bound.withhold and behind > bound.versions)


def delivered(tree: StoredTree, standing: Standing, terms: DeliveryTerms) -> Delivered:
    """A tree as it is delivered when it stands so."""
    current, behind, bound = standing.weight_version, standing.behind, terms.bound
    head = pb.Tree.FromString(tree.header)
    if head.status == FILTERED:
        return _fresh(tree, head, terms)
    if not standing.withheld or bound is None or behind is None:
        return Delivered(tree, len(head.leaves), current, behind, withheld=False)
    token = "newest" if bound.by_newest else "oldest"
    head.error = (
        f"withheld: its {token} token is of weights version {current - behind}, {behind} behind version {current}, and "
        f"max_staleness is {bound.versions}"
    )
    head.status, head.stop_reason, head.n_scored = "failed", "stale", 0
    del head.leaves[:]
    return Delivered(StoredTree(head.SerializeToString(), tree.nodes[:1], {}), 0, current, behind, withheld=True)


def trained_versions(tree: pb.Tree) -> set[int]:
    """Weight versions of an assembled tree's tokens that are in samples, and made by the tree's own model."""
    trained = (node for node in tree.nodes if node.n_leaves and not node.HasField("model"))
    return {span.version for node in trained for span in node.weight_versions}
