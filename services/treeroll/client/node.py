"""Nodes of a tree, as people and trainers read them: out of its messages, by the table of fields."""

from operator import attrgetter, itemgetter

from treeroll.errors import BrokenInvariant
from treeroll.invariants import Invariant
from treeroll.pb.v1 import common_pb2
from treeroll.records.fields import NODE_COLUMNS, Node
from treeroll.records.read import is_plain, reader

# A tree has many nodes: what can be is read in one call per node, or once per tree.
_IDS = ("node_id", "parent_id")
_HELD = [column for column in NODE_COLUMNS if column.name not in _IDS]
_OF_NODE = [column for column in _HELD if column.message == "Node"]
_PLAIN = [column for column in _OF_NODE if is_plain(column)]
_OTHERS = [column for column in _OF_NODE if not is_plain(column)]
_OF_TREE = [column for column in _HELD if column.message == "Tree"]

_plain = attrgetter(*(column.proto_field for column in _PLAIN))
_readers = [reader(column) for column in _OTHERS]
_tree_readers = [reader(column) for column in _OF_TREE]
_READ = [*_IDS, *(column.name for column in (*_PLAIN, *_OF_TREE, *_OTHERS))]
_in_order = itemgetter(*(_READ.index(column.name) for column in NODE_COLUMNS))


def nodes_of(tree: common_pb2.Tree) -> list[Node]:
    """All nodes of a tree, root first, parents before children. BrokenInvariant if tokens and logprobs do not match."""
    ids = {node.number: node_id(tree.tree_id, node.path) for node in tree.nodes}
    shared = [read(tree, tree) for read in _tree_readers]
    nodes = []
    for node in tree.nodes:
        check_lengths(tree.tree_id, node)
        number = node.number
        names = ids[number], ids[node.parent] if number else None
        nodes.append(Node(*_in_order((*names, *_plain(node), *shared, *[read(node, tree) for read in _readers]))))
    return nodes


def node_id(tree_id: str, path: str) -> str:
    """Name of a node, the same in every run with equal seed and policy."""
    return f"{tree_id}:{path}"


def check_lengths(tree_id: str, node: common_pb2.Node) -> None:
    """A record without a true logprob for every sampled token must not reach a trainer."""
    ids, logprobs = len(node.token_ids) if node.number else 0, len(node.logprobs)
    if ids != logprobs or ids % 4:
        detail = f"{ids / 4:g} tokens but {logprobs / 4:g} logprobs"
        raise BrokenInvariant(Invariant.TREE_WELL_FORMED, f"node {node.number} of tree {tree_id} has {detail}")
