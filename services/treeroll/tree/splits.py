"""Segments that other branches begin inside of, as several nodes.

A node's record is written when its segment ends, and stays; where branches began inside it is known only later. So
records keep such a segment whole, and whoever looks at a whole tree (credit, trainers, people) splits it first.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple


class Head(NamedTuple):
    """A part of a node that became a node of its own: its tokens [start, end), counted in the node."""

    node: int
    start: int
    end: int


class Split(NamedTuple):
    """A tree with its nodes split.

    A node keeps its number and is what lies behind its last split; the parts before are `heads`, numbered on from the
    last node in the order of this list. `parents` are of all of them.
    """

    parents: list[int]
    heads: list[Head]

    def tails(self) -> dict[int, int]:
        """Split node -> tokens that its heads took."""
        return {head.node: head.end for head in self.heads}


def split(parents: Sequence[int], starts: Sequence[int], sizes: Sequence[int]) -> Split:
    """Split every node that a child begins inside of.

    By node number: parent (the root is 0 and its own), position of the first token, tokens. A child that begins before
    its parent, or behind its end, is no split but a broken record, and left for audits to find.
    """
    places: defaultdict[int, set[int]] = defaultdict(set)
    for number in range(1, len(parents)):
        kept = starts[number] - starts[parents[number]]
        if 0 < kept < sizes[parents[number]]:
            places[parents[number]].add(kept)
    heads: list[Head] = []
    numbers: dict[tuple[int, int], int] = {}
    for node in sorted(places):
        start = 0
        for end in sorted(places[node]):
            numbers[node, end] = len(parents) + len(heads)
            heads.append(Head(node, start, end))
            start = end
    above = [
        numbers.get((parent, starts[number] - starts[parent]), parent) if number else 0
        for number, parent in enumerate(parents)
    ]
    for head in heads:
        # Each head takes the place that the node had, and the node goes below it.
        above.append(above[head.node])
        above[head.node] = numbers[head.node, head.end]
    return Split(above, heads)
