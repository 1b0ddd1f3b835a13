"""TreePO growth decided path by path (sync=path, ours): no step of the tree is ever waited for.

Every node holds a quota of leaves from its parent: the prompt's is the width. At a boundary a path becomes up to b
paths that share its quota evenly (larger parts first), and it is decided the moment its node arrives, from the node
alone. Quota that a path leaves unused by ending early is not passed to others; fallback rounds spend it at the end,
each sharing what is missing evenly over its branches.
"""

from treeroll.policies.branch import treepo_budget as budget
from treeroll.policies.branch.treepo_params import TreePOParams
from treeroll.policies.branch.treepo_rounds import Rounds
from treeroll.policy.base import Expansion, Limits
from treeroll.tree.apportion import even
from treeroll.tree.node import BranchReason, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import because


class PathGrowth:
    """Hands quotas down."""

    def __init__(self, params: TreePOParams, limits: Limits) -> None:
        self._params = params
        self._limits = limits
        self._rounds = Rounds(params, limits)
        self._quotas: dict[int, list[int]] = {0: []}  # node -> leaves allowed below each child, by sibling index

    def start(self, tree: Tree) -> list[Expansion]:
        """First branches, all at the prompt."""
        first = budget.initial_divergence(self._params, self._limits.leaves, tree.seed)
        self._quotas[0] = even(self._limits.leaves, first)
        return [Expansion(tree.root.number, first, BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Decides this node at once."""
        if node.status is not NodeStatus.INNER:
            return []
        quota = self._quotas[node.parent][node.sibling_index]
        b = budget.branching(self._params, tree.seed, "path", *tree.path(node.number))
        children = min(b, quota)
        self._quotas[node.number] = even(quota, children)
        why = because("treepo.path", quota=quota, b=b, children=children) if children > 1 else None
        return [Expansion(node.number, children - 1, why=why)]

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """The next fallback round, if the width is not reached."""
        missing = self._limits.leaves - len(tree.leaves)
        round_ = self._rounds.next(tree, missing)
        if not round_:
            return []
        shares = iter(even(missing, sum(expansion.forks for expansion in round_)))
        for expansion in round_:
            self._quotas[expansion.node] += [next(shares) for _ in range(expansion.forks)]
        return round_
