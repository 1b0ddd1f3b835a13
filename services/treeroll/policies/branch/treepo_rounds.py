"""Fallback rounds of one TreePO tree: from its finished paths to expansions."""

from treeroll.policies.branch import treepo_budget as budget
from treeroll.policies.branch.treepo_fallback import Leaf, Restart, SegmentStats, plan_round
from treeroll.policies.branch.treepo_params import TreePOParams
from treeroll.policy.base import Expansion, Limits
from treeroll.tree.node import LEAF, BranchReason, Decision, Node
from treeroll.tree.tree import Tree, path_name
from treeroll.why import because

# Looked up for every segment, see node.LEAF.
FALLBACK = BranchReason.FALLBACK


class Rounds:
    """Starts at most `max_rounds` rounds, so that paths which are discarded again and again cannot go on for ever."""

    def __init__(self, params: TreePOParams, limits: Limits) -> None:
        self._params = params
        self._limits = limits
        self.done = 0

    def next(self, tree: Tree, missing: int) -> list[Expansion]:
        """Branches of the next round, in path order of their nodes; empty when there is none."""
        if missing <= 0 or self._params.fallback == "none" or self.done >= self._params.max_rounds:
            return []
        self.done += 1
        b = budget.branching(self._params, tree.seed, "round", self.done)
        numbers = {path_name(tree.path(number)): number for number in tree.in_path_order(tree.leaves)}
        leaves = [_view(tree, name, number) for name, number in numbers.items()]
        restarts = plan_round(self._params, self._limits, leaves, missing, b, tree.seed, self.done)
        forks: dict[int, int] = {}
        for restart in restarts:
            at = _node(tree, numbers, restart)
            forks[at] = forks.get(at, 0) + restart.forks
        return [
            Expansion(
                at,
                forks[at],
                FALLBACK,
                Decision.RETROSPECTIVE,
                resume=False,
                why=because(
                    "treepo.fallback", round=self.done, missing=missing, leaves=len(leaves), b=b, forks=forks[at]
                ),
            )
            for at in tree.in_path_order(list(forks))
        ]


def starts_fallback(node: Node) -> bool:
    """Whether the node is the first of a fallback branch.

    Index 0 below an inner node belongs to the branch that made it, so it never is; below the prompt any index may be.
    """
    return node.branch_reason is FALLBACK and (node.parent == 0 or node.sibling_index > 0)


def ended_as_sample(node: Node) -> bool:
    """Whether the node counts towards the width. A pruned one does not; a repetition leaf does."""
    return node.status is LEAF


def _view(tree: Tree, name: str, number: int) -> Leaf:
    lineage = tree.lineage(number)
    segments = tuple(SegmentStats(node.logprob_sum / max(node.sampled, 1), node.logprob_min) for node in lineage)
    return Leaf(name, tree.nodes[number].stop_reason, tree.completion_tokens(number), segments)


def _node(tree: Tree, numbers: dict[str, int], restart: Restart) -> int:
    """Number of the node a restart begins at."""
    if restart.leaf is None or restart.keep == 0:
        return tree.root.number
    return tree.lineage(numbers[restart.leaf.path])[restart.keep - 1].number
