"""Trees whose nodes have tokens, made by hand."""

from array import array
from dataclasses import replace

from treeroll.tree.node import Content, Node, NodeStatus, Observation, Origin, Tokens
from treeroll.tree.tree import Tree

PROMPT_TOKENS = 5


def planted():
    """A tree that is only its prompt."""
    return Tree.planted("t", 7, PROMPT_TOKENS)


def add_step(tree, parent, entropies, observation="", *, sibling=0, status=NodeStatus.INNER, **values):
    """An agent's step: tokens of these entropies, then those of the observation, a character each; returns the node."""
    told = Observation(array("i", map(ord, observation)).tobytes(), observation) if observation else None
    node = add_node(
        tree, parent, [-1.0] * len(entropies) + [0.0] * len(observation),
        entropies=[*entropies, *[0.0] * len(observation)], sibling=sibling, status=status,
    )  # fmt: skip
    node.content, node.origin = replace(node.content, observation=told), Origin(**values)
    return node


def add_node(
    tree, parent, logprobs, *, ids=None, entropies=(), split_at=None, sibling=0, status=NodeStatus.LEAF, group=0
):
    """A node with these tokens behind its parent, or behind the parent's first `split_at` tokens; returns it."""
    above = tree.nodes[parent]
    start, depth = (above.total, above.depth + 1) if split_at is None else (above.token_start + split_at, above.depth)
    node = Node(
        len(tree.nodes), parent, sibling, depth, start, len(logprobs), sum(logprobs), min(logprobs), status=status,
        origin=Origin(group=group), content=Content(
            Tokens(array("i", ids or range(10, 10 + len(logprobs))), array("f", logprobs), array("f", entropies))
        ),
    )  # fmt: skip
    tree.add(node)
    if split_at is not None:
        tree.splits[parent, split_at] = max(tree.splits.get((parent, split_at), 1), sibling + 1)
    return node
