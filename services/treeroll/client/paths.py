"""Paths of a tree and their token columns, read in a few passes over the whole tree.

A trainer holds thousands of samples. What they share is one object here, and node messages are made only to be read:
what is kept, the garbage collector walks again and again.
"""

import json
from collections.abc import Sequence
from functools import reduce
from itertools import chain, count, islice
from operator import attrgetter, lt, or_
from typing import Any, NamedTuple

import numpy as np

from treeroll.client.node import check_lengths, node_id
from treeroll.errors import BrokenInvariant
from treeroll.invariants import Invariant
from treeroll.pb.v1 import common_pb2
from treeroll.records.fields import Float32, Int32
from treeroll.records.read import float32s, int32s


class Path(NamedTuple):
    """Where the columns of one sample come from. Made for one look."""

    tree: "Paths"
    numbers: tuple[int, ...]
    """Indices of its nodes, from depth 1 to the leaf."""
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
        """Indices of its nodes."""
        names, indices = [], ""
        for node in self.nodes():
            indices = f"{indices}.{node.sibling_index}" if indices else str(node.sibling_index)
            names.append(node_id(self.tree.message.tree_id, indices))
        return names

    def versions(self) -> list[int]:
        """Weight versions along the path; those of its own model, if that made any of it."""
        nodes = self.nodes()
        own = [span.version for node in nodes if not node.HasField("model") for span in node.weight_versions]
        return own or [span.version for node in nodes for span in node.weight_versions]


class Segments(NamedTuple):
    """What the nodes of a tree hold, by node number."""

    place: Sequence[int]
    """Places of each in the tree's message."""
    parents: Sequence[int]
    token_ids: Sequence[bytes]
    logprobs: Sequence[bytes]
    sizes: list[int]
    """Lengths of token ids, in bytes."""


_number, _parent = attrgetter("number"), attrgetter("parent")
_token_ids, _logprobs = attrgetter("token_ids"), attrgetter("logprobs")


def segments_of(tree: common_pb2.Tree) -> Segments:
    """BrokenInvariant unless nodes are numbered 0, 1, 2 ... and every sampled token has a logprob."""
    nodes = list(tree.nodes)
    numbers = list(map(_number, nodes))
    place: Sequence[int] = range(len(nodes))
    if numbers != list(place):  # depth first
        if sorted(numbers) != list(place):
            raise BrokenInvariant(
                Invariant.TREE_WELL_FORMED, f"nodes of tree {tree.tree_id} are missing or there twice"
            )
        place = sorted(place, key=numbers.__getitem__)
        nodes = [nodes[at] for at in place]
    token_ids, logprobs = list(map(_token_ids, nodes)), list(map(_logprobs, nodes))
    sizes = list(map(len, token_ids))
    if sizes[1:] != list(map(len, logprobs))[1:] or reduce(or_, set(sizes), 0) % 4:
        for node in nodes:
            check_lengths(tree.tree_id, node)
    return Segments(place, list(map(_parent, nodes)), token_ids, logprobs, sizes)


class Paths:
    """All paths of a tree, in the order of its leaves."""

    __slots__ = ("extra", "message", "numbers", "place", "prompt_ids", "sizes", "version")

    def __init__(self, tree: common_pb2.Tree, segments: Segments, prompt_ids: Int32, version: int | None) -> None:
        """`version` is the trainer's. BrokenInvariant for a tree that contradicts itself."""
        self.message = tree
        self.version = version
        self.prompt_ids = prompt_ids
        self.extra: dict[str, Any] = json.loads(tree.extra_json) if tree.extra_json else {}
        self.place = segments.place
        self.sizes = segments.sizes
        self.numbers = self._down(segments.parents)
        self._check_versions()

    def __getitem__(self, index: int) -> Path:
        numbers = self.numbers[index]
        return Path(self, numbers, [self.sizes[number] // 4 for number in numbers], self.message.leaves[index])

    def _down(self, parents: Sequence[int]) -> list[tuple[int, ...]]:
        """Numbers from depth 1 to each leaf; refuses nodes before their parents, and leaves that are no nodes."""
        self._check_order(parents)
        found: list[tuple[int, ...]] = []
        for number in map(_leaf, self.message.leaves):
            if not 0 < number < len(parents):
                detail = f"leaf {number} of tree {self.message.tree_id} is no node of it"
                raise BrokenInvariant(Invariant.TREE_WELL_FORMED, detail)
            up = []
            while number:
                up.append(number)
                number = parents[number]
            found.append(tuple(up[::-1]))
        return found

    def _check_order(self, parents: Sequence[int]) -> None:
        """Every way up ends at the root."""
        if not self.message.has_cuts:
            if all(map(lt, islice(parents, 1, None), count(1))):
                return
            order: Sequence[int] = range(len(parents))
        else:  # parts of a node are numbered after it
            order = sorted(range(len(parents)), key=lambda number: self.message.nodes[self.place[number]].token_start)
        seen = {0}
        for number in islice(order, 1, None):
            if parents[number] not in seen:
                detail = f"node {number} of tree {self.message.tree_id} comes before its parent {parents[number]}"
                raise BrokenInvariant(Invariant.TREE_WELL_FORMED, detail)
            seen.add(number)

    def _check_versions(self) -> None:
        """An unknown version is an error, never a default."""
        nodes, place = self.message.nodes, self.place
        known = {first for first in {numbers[0] for numbers in self.numbers} if nodes[place[first]].weight_versions}
        for index, numbers in enumerate(self.numbers):
            if numbers[0] not in known and not self[index].versions():
                detail = f"no node on path {self[index].names()[-1]} names the weight version that made it"
                raise BrokenInvariant(Invariant.STALENESS_BOUND, detail)


_leaf, _advantages = attrgetter("leaf"), attrgetter("advantages")

TokenColumns = tuple[Int32, Float32, Float32 | None]
"""completion_ids, logprobs and advantages of one path."""


def token_columns(paths: Paths, segments: Segments) -> list[TokenColumns]:
    """Those of each path: views of three arrays that hold all paths end to end.

    numpy's costs are per array, and these are the columns that every trainer reads.
    """
    order = list(chain.from_iterable(paths.numbers))
    ids = int32s(b"".join(map(segments.token_ids.__getitem__, order)))
    logprobs = float32s(b"".join(map(segments.logprobs.__getitem__, order)))
    sizes = list(map(segments.sizes.__getitem__, order))
    credits = list(map(_advantages, paths.message.leaves))
    advantages = _spread(paths, credits, sizes)
    rest, start = iter(sizes), 0
    found: list[TokenColumns] = []
    for numbers, credit in zip(paths.numbers, credits, strict=True):
        end = start + sum(islice(rest, len(numbers))) // 4
        found.append((ids[start:end], logprobs[start:end], advantages[start:end] if credit else None))
        start = end
    return found


def _spread(paths: Paths, credits: list[bytes], sizes: list[int]) -> Float32:
    """One advantage per path node, over the node's tokens; zeros hold the places of those that do not exist."""
    rooms = [8 * len(numbers) for numbers in paths.numbers]
    if list(map(len, credits)) != rooms:
        credits = [credit or bytes(room) for credit, room in zip(credits, rooms, strict=True)]
        for index, (credit, room) in enumerate(zip(credits, rooms, strict=True)):
            if len(credit) != room:
                detail = f"{len(credit) // 8} advantages for {room // 8} path nodes"
                raise BrokenInvariant(Invariant.TREE_WELL_FORMED, f"leaf {paths[index].names()[-1]} has {detail}")
    # One number for all is three times as fast.
    times = sizes[0] // 4 if sizes.count(sizes[0]) == len(sizes) else [size // 4 for size in sizes]
    return np.frombuffer(b"".join(credits), np.float64).astype(np.float32).repeat(times)
