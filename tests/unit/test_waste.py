"""What tokens of an ended tree are in no sample, and why."""

from types import SimpleNamespace

import pytest

from treeroll.core.growth.leaving import Unsampled, unsampled_tokens
from treeroll.tree.node import INNER, LEAF, OF_PROMPT, PRUNED, Node, NodeStatus, StopReason

PROMPT = 10


def grown(*rows: tuple[int, int, int, NodeStatus]) -> SimpleNamespace:
    """A tree of these nodes, numbered from 1: parent, how many tokens of that come before, own tokens, status."""
    nodes = [Node(0, 0, 0, 0, 0, PROMPT, 0.0, 0.0, 0.0, INNER, StopReason.NONE, 1, 0, OF_PROMPT)]
    for number, (parent, offset, tokens, status) in enumerate(rows, 1):
        start = nodes[parent].token_start + offset
        nodes.append(Node(number, parent, 0, 1, start, tokens, 0.0, 0.0, 0.0, status, StopReason.NONE, 1, 0, OF_PROMPT))
    leaves = [node.number for node in nodes if node.status is LEAF]
    return SimpleNamespace(tree=SimpleNamespace(nodes=nodes, leaves=leaves))


@pytest.mark.parametrize(
    ("rows", "unsampled"),
    [
        ([(0, PROMPT, 5, LEAF)], (0, 0)),
        ([(0, PROMPT, 5, INNER), (1, 5, 3, PRUNED)], (8, 0)),
        ([(0, PROMPT, 5, INNER), (1, 5, 3, INNER)], (0, 8)),
        # A leaf shares the first node; the other paths below it end at a pruned node, and are cut.
        ([(0, PROMPT, 5, INNER), (1, 5, 2, LEAF), (1, 5, 3, PRUNED), (1, 5, 4, INNER)], (3, 4)),
        # What one path that was cut and one that was pruned have in common came to no end.
        ([(0, PROMPT, 5, INNER), (1, 5, 3, PRUNED), (1, 5, 4, INNER)], (3, 9)),
        # A path that leaves a pruned node inside of it becomes a sample: the rest of the node is in none.
        ([(0, PROMPT, 8, PRUNED), (1, 3, 2, LEAF)], (5, 0)),
        # It is cut: what it has in common with the node is, too, but is counted with the whole node.
        ([(0, PROMPT, 8, PRUNED), (1, 3, 2, INNER)], (0, 10)),
        # One path leaves it early to become a sample, another later to be cut: the node was cut behind the first.
        ([(0, PROMPT, 8, PRUNED), (1, 3, 2, LEAF), (1, 6, 4, INNER)], (0, 9)),
        # The other way round nothing was cut behind where the sample leaves it.
        ([(0, PROMPT, 8, PRUNED), (1, 6, 2, LEAF), (1, 3, 4, INNER)], (2, 4)),
    ],
)
def test_tokens_without_a_sample_are_pruned_unless_something_behind_them_was_cut(
    rows: list[tuple[int, int, int, NodeStatus]], unsampled: tuple[int, int]
) -> None:
    assert unsampled_tokens(grown(*rows)) == Unsampled(*unsampled)
