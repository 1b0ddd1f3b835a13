"""Paths of a tree and their token columns, read in a few passes over the whole tree.

A trainer holds thousands of samples. What they share is one object here, and node messages are made only to be read:
what is kept, the garbage collector walks again and again.
"""

import json
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from treeroll.client.node import Float32, check_lengths, float32s, int32s, node_id
from treeroll.errors import BrokenInvariant
from treeroll.pb.v1 import common_pb2

_Row = tuple[int, int, bytes, bytes]  # number, parent, token ids, logprobs
_row = attrgetter("number", "parent", "token_ids", "logprobs")


class Path(NamedTuple):
    """Where the columns of one sample come from. Made for one look."""

    tree: "Paths"
    numbers: tuple[int, ...]
    """Of its nodes, from depth 1 to the leaf."""
    lengths: list[int]
    """Tokens of each."""
    credit: common_pb2.LeafCredit

    def nodes(self) -> list[common_pb2.Node]:
        """Its nodes."""
        nodes, place = self.tree.message.nodes, self.tree.place
        return [nodes[place[number]] for number in self.numbers]

    def leaf(self) -> common_pb2.Node:
        """The last node."""
        return self.tree.message.nodes[self.tree.place[self.numbers[-1]]]

    def names(self) -> list[str]:
        """Of its nodes."""
        names, indices = [], ""
        for node in self.nodes():
            indices = f"{indices}.{node.sibling_index}" if indices else str(node.sibling_index)
            names.append(node_id(self.tree.message.tree_id, indices))
        return names

    def versions(self) -> list[int]:
        """Weight versions along the path."""
        return [span.version for node in self.nodes() for span in node.weight_versions]


class Paths:
    """All paths of a tree, in the order of its leaves."""

    __slots__ = ("extra", "lengths", "message", "numbers", "place", "rows", "version")

    def __init__(self, tree: common_pb2.Tree, version: int | None) -> None:
        """`version` is the trainer's. BrokenInvariant for a tree that contradicts itself."""
        self.message = tree
        self.version = version
        self.extra: dict[str, Any] = json.loads(tree.extra_json) if tree.extra_json else {}
        rows: list[_Row] = list(map(_row, tree.nodes))
        self.rows: dict[int, _Row] = {row[0]: row for row in rows}  # by node number
        self.place = {row[0]: place for place, row in enumerate(rows)}  # node number -> place in the message
        self.lengths = {row[0]: len(row[2]) // 4 for row in rows}  # node number -> tokens
        for number, _, ids, logprobs in rows:
            if number and (len(ids) != len(logprobs) or len(ids) % 4):
                check_lengths(tree.tree_id, tree.nodes[self.place[number]])
        self.numbers = [self._up(credit.leaf) for credit in tree.leaves]
        self._check_versions()

    def __getitem__(self, index: int) -> Path:
        numbers = self.numbers[index]
        return Path(self, numbers, [self.lengths[number] for number in numbers], self.message.leaves[index])

    def _up(self, leaf: int) -> tuple[int, ...]:
        """Numbers from depth 1 to the leaf; refuses holes, cycles and the bare root."""
        rows = self.rows
        path: list[int] = []
        number = leaf
        while number and number in rows and len(path) < len(rows):
            path.append(number)
            number = rows[number][1]
        if number or not path or 0 not in rows:
            detail = f"leaf {leaf} of tree {self.message.tree_id} does not lead up to the root"
            raise BrokenInvariant("TreeWellFormed", detail)
        return tuple(path[::-1])

    def _check_versions(self) -> None:
        """An unknown version is an error, never a default."""
        nodes, place = self.message.nodes, self.place
        known = {first for first in {numbers[0] for numbers in self.numbers} if nodes[place[first]].weight_versions}
        for index, numbers in enumerate(self.numbers):
            if numbers[0] not in known and not self[index].versions():
                detail = f"no node on path {self[index].names()[-1]} names the weight version that made it"
                raise BrokenInvariant("StalenessBound", detail)

    def token_columns(self) -> Iterator[dict[str, Any]]:
        """completion_ids, logprobs and advantages of each path: views of three arrays that hold all paths end to end.

        numpy's costs are per array, and these are the columns that every trainer reads. Gives them once.
        """
        rows = [self.rows[number] for numbers in self.numbers for number in numbers]
        self.rows = {}
        ids = int32s(b"".join([row[2] for row in rows]))
        logprobs = float32s(b"".join([row[3] for row in rows]))
        lengths = [self.lengths[row[0]] for row in rows]
        credits = [credit.advantages for credit in self.message.leaves]
        advantages = self._spread(credits, lengths)
        node = start = 0
        for numbers, credit in zip(self.numbers, credits, strict=True):
            end = start + sum(lengths[node : node + len(numbers)])
            yield {
                "completion_ids": ids[start:end],
                "logprobs": logprobs[start:end],
                "advantages": advantages[start:end] if credit else None,
            }
            node, start = node + len(numbers), end

    def _spread(self, credits: list[bytes], lengths: list[int]) -> Float32:
        """One advantage per path node, over the node's tokens; zeros hold the places of those that do not exist."""
        for index, (credit, numbers) in enumerate(zip(credits, self.numbers, strict=True)):
            if credit and len(credit) != 8 * len(numbers):
                detail = f"{len(credit) // 8} advantages for {len(numbers)} path nodes"
                raise BrokenInvariant("TreeWellFormed", f"leaf {self[index].names()[-1]} has {detail}")
        filled = [credit or bytes(8 * len(numbers)) for credit, numbers in zip(credits, self.numbers, strict=True)]
        # One number for all is three times as fast.
        times = lengths[0] if lengths.count(lengths[0]) == len(lengths) else lengths
        return np.frombuffer(b"".join(filled), np.float64).astype(np.float32).repeat(times)
