"""From stored records to a whole tree, in two steps that may happen on different machines.

`pieces` makes a message of a tree's records without reading them, so the service hands trees on at the cost of a copy.
`complete` adds what depends on the whole tree: parts of split nodes, paths, depth-first order and intervals, "open"
status, values.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Protocol

from treeroll.pb.v1 import common_pb2 as pb
from treeroll.records.split import split_nodes
from treeroll.records.wire import NODE_REWARDS, TREE_NODES, varint

AT_ONCE = 512


class Stored(Protocol):
    """Records of one tree: its header, its nodes by number, its rewards by "<node>:<scorer>:<version>"."""

    header: bytes
    nodes: list[bytes]
    rewards: dict[str, bytes]


def pieces(stored: Stored, first: int = 0) -> list[bytes]:
    """A serialised Tree in pieces: nodes by number, `first` and on, as they were stored, each with its rewards.

    Of a page of a tree it is a part: all of them, one after the other, are the Tree.
    """
    nodes = _with_rewards(stored, first) if stored.rewards else stored.nodes
    return [stored.header, *chain.from_iterable(zip(map(_node_head, map(len, nodes)), nodes, strict=True))]


@lru_cache(maxsize=4096)
def _node_head(size: int) -> bytes:
    """What stands before a node of this many bytes."""
    return TREE_NODES + varint(size)


def _with_rewards(stored: Stored, first: int) -> list[bytes]:
    nodes = list(stored.nodes)
    for key, reward in sorted(stored.rewards.items()):
        place = int(key.partition(":")[0]) - first
        nodes[place] = b"".join((nodes[place], NODE_REWARDS, varint(len(reward)), reward))
    return nodes


def as_stored(stored: Stored) -> pb.Tree:
    """The Tree that the pieces are, not complete.

    Read some nodes at a time: reading is one step of the interpreter, and a large tree's would hold up all threads.
    """
    header, *parts = pieces(stored)
    tree = pb.Tree.FromString(header)
    for first in range(0, len(parts), AT_ONCE):  # an even number: of each node what stands before it, and itself
        tree.MergeFromString(b"".join(parts[first : first + AT_ONCE]))
    return tree


def assemble(stored: Stored) -> pb.Tree:
    """The whole tree: nodes in depth-first order with rewards, paths, intervals and values."""
    return complete(as_stored(stored))


def complete(tree: pb.Tree) -> pb.Tree:
    """The same tree: nodes, until now by number, split and in depth-first order with paths, intervals and values."""
    split_nodes(tree)
    nodes = list(tree.nodes)
    children: list[list[pb.Node]] = [[] for _ in nodes]
    for node in nodes[1:]:
        children[node.parent].append(node)
    for node in nodes:
        if node.number and node.status == "inner" and not children[node.number]:
            node.status = "open"
    for end in tree.path_ends:
        if end.node < len(nodes):
            nodes[end.node].ended_by.CopyFrom(end.why)
    if nodes:
        _number_depth_first(nodes[0], children)
        tree.nodes.sort(key=_tin)
        write_values(tree)
    return tree


def _tin(node: pb.Node) -> int:
    return node.tin


def _number_depth_first(root: pb.Node, children: Sequence[list[pb.Node]]) -> None:
    """Preorder by sibling index; fills path, depth, tin and tout."""
    count = 0
    stack: list[tuple[pb.Node, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            node.tout = count
            continue
        node.tin = count
        count += 1
        stack.append((node, True))
        for child in sorted(children[node.number], key=lambda n: -n.sibling_index):
            child.path = f"{node.path}.{child.sibling_index}" if node.number else str(child.sibling_index)
            child.depth = node.depth + 1
            stack.append((child, False))


def write_values(tree: pb.Tree) -> None:
    """Per node of a complete tree: its complete leaves, and the mean reward of the scored ones."""
    parents = {node.number: node.parent for node in tree.nodes}
    rewards = {leaf.leaf: leaf.reward for leaf in tree.leaves if leaf.HasField("reward")}
    counts, scored = dict.fromkeys(parents, 0), dict.fromkeys(parents, 0)
    sums = dict.fromkeys(parents, 0.0)
    for leaf in (node.number for node in tree.nodes if node.status == "leaf"):
        for number in _up(leaf, parents):
            counts[number] += 1
            if leaf in rewards:
                scored[number] += 1
                sums[number] += rewards[leaf]
    for node in tree.nodes:
        node.n_leaves = counts[node.number]
        if scored[node.number]:
            node.value = sums[node.number] / scored[node.number]


def _up(number: int, parents: dict[int, int]) -> Iterable[int]:
    """The node and those above it."""
    while number:
        yield number
        number = parents[number]
    yield 0
