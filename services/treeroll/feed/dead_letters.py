"""Trees that cannot be delivered travel as tasks without a sample, with the reason: else they would come for ever.

A tree that is too large for a message is found at once. Whether one can be read is asked only when it comes again, for
its first delivery has failed then, here or at its consumer.
"""

from treeroll.channels import MESSAGE_BYTES
from treeroll.feed.reply import REPLY_BYTES
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.records.assemble import assemble
from treeroll.records.numbers import wrong_numbers
from treeroll.store.base import StoredTree

# A reply holds other trees, and what else it says.
MOST_TREE_BYTES = MESSAGE_BYTES - REPLY_BYTES - (8 << 20)
# A prompt up to here still travels.
MOST_ROOT_BYTES = 1 << 20


def why_too_large(tree: StoredTree) -> str:
    """Why the tree does not fit into a message; "" if it does."""
    size = len(tree.header) + sum(map(len, tree.nodes)) + sum(map(len, tree.rewards.values()))
    return f"it has {size} bytes, and a message takes {MOST_TREE_BYTES}" if size > MOST_TREE_BYTES else ""


def why_unreadable(tree: StoredTree) -> str:
    """Why nobody can make samples of the tree; "" if its consumers can. Reads all of it."""
    try:
        whole = assemble(tree)
        for node in whole.nodes:
            if not node.number:
                continue
            if not node.token_ids or len(node.token_ids) != len(node.logprobs):
                return f"node '{node.path}' has {len(node.token_ids) // 4} ids and {len(node.logprobs) // 4} logprobs"
            if wrong := wrong_numbers(node.token_ids, node.logprobs, node.entropies):
                return f"node '{node.path}' is one {wrong}"
    except Exception as error:  # whatever it is, the other trees have no part in it
        return f"its records cannot be read: {type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def dead_letter(tree_id: str, tree: StoredTree, why: str) -> StoredTree:
    """What is delivered in place of the tree."""
    try:
        head = pb.Tree.FromString(tree.header)
    except Exception:
        head = pb.Tree(tree_id=tree_id)
    head.status, head.error, head.n_scored = "failed", f"it cannot be delivered: {why}", 0
    del head.leaves[:]
    return StoredTree(head.SerializeToString(), [_root(tree)], {})


def _root(tree: StoredTree) -> bytes:
    root = tree.nodes[0] if tree.nodes else b""
    if len(root) <= MOST_ROOT_BYTES:
        try:
            pb.Node.FromString(root)
        except Exception:
            return b""
        return root
    return b""
