"""What a branch policy may decide: each decision is checked before the first of them is carried out."""

from collections.abc import Sequence
from typing import Any, Final

from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.state import State
from treeroll.policy.base import MAX_TEMPERATURE_SCALE, Expansion
from treeroll.tree.node import INNER, BranchReason, Decision
from treeroll.tree.tree import Tree

# A decision that starts so many branches for each leaf that its tree may have is a mistake.
FORKS_PER_LEAF: Final = 32
# What records can hold.
MAX_UINT32: Final = 2**32 - 1


class Impossible(Exception):  # a reason, which nobody sees but as the end of a sentence
    """What a policy said cannot be; the end of a sentence that begins with the policy's name."""


def checked(state: State, live: LiveTree, expansions: Any) -> Sequence[Expansion]:
    """The decisions, if all of them can be carried out; Impossible if one cannot."""
    if not expansions:
        return ()
    if not isinstance(expansions, list | tuple):
        raise Impossible(f"decides {expansions!r}, which is no list of expansions")
    nodes, most = range(len(live.tree.nodes)), FORKS_PER_LEAF * (live.most_leaves + 1)
    for expansion in expansions:
        if expansion.forks == 0 and expansion.node in nodes:  # the most frequent: it starts nothing, so no more is read
            continue
        if flaw := flaw_of(live.tree, expansion):
            raise Impossible(flaw)
        if expansion.forks > most:
            raise Impossible(f"asks for {expansion.forks} forks in a tree of at most {live.most_leaves} leaves")
        if expansion.model and expansion.model not in state.pools:
            raise Impossible(f"names model {expansion.model!r}, which nobody serves")
    found: Sequence[Expansion] = expansions
    return found


def flaw_of(tree: Tree, expansion: Any) -> str:
    """What of an expansion cannot be, as the end of a sentence; "" if nothing."""
    if expansion.node not in range(len(tree.nodes)):
        return f"expands node {expansion.node!r}, and there is none"
    node, split = tree.nodes[expansion.node], expansion.split_at
    if split is None:
        if node.status is not INNER:
            return f"expands node {expansion.node}, where the path has ended"
    elif node.tokens is None or split not in node.own[1:]:
        return f"splits node {expansion.node} of {node.n_tokens} tokens after {split!r}"
    if not isinstance(expansion.forks, int) or expansion.forks < 0:
        return f"asks for {expansion.forks!r} forks"
    if not isinstance(expansion.reason, BranchReason) or not isinstance(expansion.decision, Decision):
        return f"gives {expansion.reason!r} as reason and {expansion.decision!r} as decision"
    if not isinstance(expansion.group, int) or not 0 <= expansion.group <= MAX_UINT32:
        return f"gives {expansion.group!r} as group"
    if not 0 < expansion.temperature_scale <= MAX_TEMPERATURE_SCALE:
        return f"gives {expansion.temperature_scale!r} as temperature_scale, not above 0 and up to 10"
    limit = expansion.max_tokens
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        return f"gives {limit!r} as max_tokens"
    if not isinstance(expansion.insert, str) or not isinstance(expansion.model, str):
        return f"inserts {expansion.insert!r} and names model {expansion.model!r}"
    return ""
