"""Shape: a tree's nodes as columns of numbers, and the bytes that browsers draw it from.

Format TRV1, little-endian. 16 bytes: b"TRV1", u32 number of the first node, u32 nodes, u32 columns. Then every column
of `COLUMNS` in its order, padded with zeros to a multiple of 4 bytes, so that a browser looks at all of them in place.
Parents come before their children, so that any beginning of a tree is one. Floats that are not known are NaN.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"TRV1"
# Most nodes of one answer: the first picture does not wait for a large tree's last node.
CHUNK = 20_000

# Name -> type, in the order of the bytes. docs/dashboard.md has what they mean.
COLUMNS = {
    "parent": "<u4",
    "token_start": "<u4",
    "tokens": "<u4",
    "leaves": "<u4",
    "lp_sum": "<f4",
    "lp_min": "<f4",
    "entropy": "<f4",
    "value": "<f4",
    "advantage": "<f4",
    "seconds": "<f4",
    "sibling": "<u2",
    "version": "<u2",
    "status": "u1",
    "stop": "u1",
    "reason": "u1",
    "replica": "u1",
}
NO_PARENT = 0xFFFF_FFFF
# Codes of words are one byte, the last of which stands for all that have none of their own.
OTHER = 255


class Words:
    """Words of one column as small numbers."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def codes(self, words: list[str]) -> NDArray[np.uint8]:
        """A number for each word."""
        known = {word: code for code, word in enumerate(self.words)}
        for word in dict.fromkeys(words):
            if word not in known and len(known) < OTHER:
                known[word] = len(known)
                self.words.append(word)
        return np.fromiter((known.get(word, OTHER) for word in words), np.uint8, len(words))


@dataclass(frozen=True, slots=True)
class Shape:
    """All nodes of a tree in order of their numbers; column name -> one value per node."""

    columns: dict[str, NDArray[Any]]
    words: dict[str, list[str]] = field(default_factory=dict)
    """Of status, stop, reason, replica, version: what the numbers stand for."""

    @property
    def nodes(self) -> int:
        """How many there are."""
        return len(self.columns["parent"])

    def encoded(self, first: int = 0, most: int = CHUNK) -> bytes:
        """The nodes from number `first` on, `most` at a time."""
        last = min(self.nodes, first + most)
        parts = [MAGIC, struct.pack("<3I", first, max(0, last - first), len(COLUMNS))]
        for name, dtype in COLUMNS.items():
            raw = self.columns[name][first:last].astype(dtype).tobytes()
            parts += [raw, bytes(-len(raw) % 4)]
        return b"".join(parts)


def decoded(raw: bytes) -> dict[str, NDArray[Any]]:
    """The columns of one answer. ValueError for bytes that are none."""
    if raw[:4] != MAGIC:
        raise ValueError("not a shape of this version")
    _, count, columns = struct.unpack("<3I", raw[4:16])
    if columns != len(COLUMNS):
        raise ValueError(f"a shape of {columns} columns, this version has {len(COLUMNS)}")
    found: dict[str, NDArray[Any]] = {}
    place = 16
    for name, dtype in COLUMNS.items():
        found[name] = np.frombuffer(raw, dtype, count, place)
        size = found[name].nbytes
        place += size + -size % 4
    return found


def means_of_leaves(
    parents: NDArray[np.int64], leaf_nodes: NDArray[np.int64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Per node the mean of the values of the leaves at or below it; NaN where none has a value.

    Parents [N] come before their children, -1 for the root; `leaf_nodes` [L] are node numbers, `values` [L] may be NaN.
    """
    known = ~np.isnan(values)
    sums = np.zeros(len(parents))
    counts = np.zeros(len(parents), np.int64)
    np.add.at(sums, leaf_nodes[known], values[known])
    np.add.at(counts, leaf_nodes[known], 1)
    for members in _levels(parents):
        np.add.at(sums, parents[members], sums[members])
        np.add.at(counts, parents[members], counts[members])
    means = np.full(len(parents), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def _levels(parents: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Nodes by depth, deepest first, the root left out."""
    found: list[NDArray[np.int64]] = []
    children_of = np.argsort(parents, kind="stable")
    ordered = parents[children_of]
    level = np.flatnonzero(parents == -1)
    while len(level):
        first, last = np.searchsorted(ordered, level, "left"), np.searchsorted(ordered, level, "right")
        sizes = last - first
        below = np.repeat(first - np.cumsum(sizes) + sizes, sizes) + np.arange(int(sizes.sum()))
        level = children_of[below]
        if len(level):
            found.append(level)
    return found[::-1]
