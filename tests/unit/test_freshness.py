"""How far delivered trees are behind the weights in force, and which of them are withheld for it."""

import pytest

from treeroll.core.model.run import DeliveryTerms, StalenessBound
from treeroll.feed.freshness import Delivered, Freshness
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.store.base import StoredTree

SPANS = {1: [(3, 2)], 2: [(3, 1), (4, 1)], 3: [(5, 2)], 4: [(6, 2)]}


def stored(started: int, leaves: tuple[int, ...] = (2, 3), other_model: int | None = None) -> StoredTree:
    """Prompt - 1 - 2 and 1 - 3, and 1 - 4, which was pruned; `other_model` made a node."""
    header = pb.Tree(tree_id="t", status="complete", weight_version=started, n_scored=len(leaves))
    header.leaves.extend(pb.LeafCredit(leaf=leaf, path_weight=1.0) for leaf in leaves)
    nodes = [pb.Node(status="inner", token_ids=bytes(8))]
    for number, spans in SPANS.items():
        node = pb.Node(number=number, parent=min(number - 1, 1), sibling_index=max(0, number - 2))
        node.token_ids, node.logprobs, node.token_start = bytes(8), bytes(8), 2 if number == 1 else 4
        node.status = "leaf" if number in leaves else "inner" if number == 1 else "pruned"
        node.weight_versions.extend(pb.WeightSpan(version=version, tokens=tokens) for version, tokens in spans)
        if number == other_model:
            node.model = "another"
        nodes.append(node)
    return StoredTree(header.SerializeToString(), [node.SerializeToString() for node in nodes], {})


async def delivered(tree: StoredTree, current: int, bound: StalenessBound | None = None) -> Delivered:
    [found] = await Freshness(lambda _: DeliveryTerms({"": current}, bound)).judge("run", [tree])
    return found


@pytest.mark.parametrize(
    ("bound", "behind", "withheld"),
    [
        (None, 4, False),
        (StalenessBound(4), 4, False),
        (StalenessBound(3), 4, True),
        (StalenessBound(3, withhold=False), 4, False),
        (StalenessBound(2, by_newest=True), 2, False),
        (StalenessBound(1, by_newest=True), 2, True),
    ],
)
async def test_a_tree_is_as_old_as_its_oldest_or_newest_trained_token(
    bound: StalenessBound | None, behind: int, withheld: bool
) -> None:
    tree = stored(started=3)
    found = await delivered(tree, 7, bound)
    assert (found.behind, found.withheld, found.weight_version) == (behind, withheld, 7)
    if not withheld:
        assert (found.tree, found.samples) == (tree, 2)
        return
    head = pb.Tree.FromString(found.tree.header)
    assert (found.samples, len(head.leaves), head.n_scored) == (0, 0, 0)
    assert (head.status, head.stop_reason, found.tree.nodes) == ("failed", "stale", tree.nodes[:1])
    age = "newest token is of weights version 5, 2" if behind == 2 else "oldest token is of weights version 3, 4"
    assert f"withheld: its {age} behind version 7, and max_staleness is" in head.error


async def test_a_tree_that_began_before_an_update_may_have_no_token_from_before_it() -> None:
    assert (await delivered(stored(started=1), 3, StalenessBound(0))).behind == 0
    assert not (await delivered(stored(started=1), 3, StalenessBound(0))).withheld


async def test_tokens_that_are_not_trained_on_do_not_age_a_tree() -> None:
    assert (await delivered(stored(started=3, leaves=(3,), other_model=1), 7)).behind == 2


@pytest.mark.parametrize(("started", "leaves"), [(7, (2, 3)), (3, ())])
async def test_trees_of_the_weights_in_force_and_trees_without_samples_are_not_looked_into(
    started: int, leaves: tuple[int, ...]
) -> None:
    unreadable = StoredTree(stored(started, leaves).header, [b"\xff"], {})
    found = await delivered(unreadable, 7, StalenessBound(0))
    assert (found.tree, found.samples, found.withheld) == (unreadable, len(leaves), False)


async def test_first_deliveries_are_counted_by_age_and_withheld_ones_apart() -> None:
    freshness = Freshness(lambda _: DeliveryTerms({"": 7}, StalenessBound(3)))
    good, old, failed = await freshness.judge("run", [stored(7), stored(3), stored(3, ())])
    for found in (good, old, failed):
        freshness.count("run", found, first=True)
    freshness.count("run", good, first=False)
    assert (dict(freshness.staleness["run"]), freshness.withheld["run"]) == ({0: 1}, 1)


async def test_without_published_weights_nothing_is_counted() -> None:
    freshness = Freshness(lambda _: DeliveryTerms({"": 0}, None))
    [found] = await freshness.judge("run", [stored(0)])
    freshness.count("run", found, first=True)
    assert dict(freshness.staleness["run"]) == {}
