"""The noun: trees of nodes, the tokens in them, and the arithmetic that decisions about them share. Knows nobody.

Stability: what is listed here is public. A policy of another distribution may import it, and a change to it is named
in CHANGELOG.md; whatever else the modules hold may change without notice.
"""

from treeroll.tree import rng
from treeroll.tree.apportion import apportion, even
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus, Observation, StopReason, Tokens
from treeroll.tree.tree import Tree, path_name

__all__ = [
    "BranchReason",
    "Decision",
    "Node",
    "NodeStatus",
    "Observation",
    "StopReason",
    "Tokens",
    "Tree",
    "apportion",
    "even",
    "path_name",
    "rng",
]
