"""ReST-MCTS* value labels: how far every node is on its way to a correct answer."""

from typing import ClassVar

from pydantic import Field

from treeroll.policies.advantage.scored_tree import ScoredTree
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits


class RestMCTSAdvantage:
    """V(n) = max(0, V(p) + (1 - V(p)) s / m), p the parent of n and V = 0 at the prompt.

    Where a correct leaf is at or below n, s is 1 and m the least number of nodes from n to one, n included. Elsewhere s
    is -1 and m that of the nearest node above with a correct leaf below. So a path that only leads forward climbs to 1
    in even steps, and one that leaves it falls.

    These are labels in [0, 1] for a process value model, in the place of advantages; as advantages they would reward
    wrong answers for their good beginnings. Ours: correct is a reward of `success` or more, and a step is a segment;
    in a tree without a correct leaf all labels are 0, where the release labels none.
    """

    name: ClassVar[str] = "rest_mcts"
    summary: ClassVar[str] = "progress of every node towards a correct leaf: labels for a value model, no advantages"
    paper: ClassVar[str] = "ReST-MCTS*, arXiv 2406.03816"

    class Params(base.Params):
        """What is correct."""

        success: float = Field(0.5, ge=-1e6, le=1e6, description="smallest reward that is correct")

    def __init__(self, params: Params, limits: Limits) -> None:
        self._success = params.success

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one label per path node."""
        scored = ScoredTree(tree)
        live = self._steps(tree, scored)
        steps, values = dict(live), {0: 0.0}
        for node, parent in scored.parents.items():
            if parent in steps:
                steps.setdefault(node, steps[parent])
            if node not in steps:
                values[node] = 0.0
                continue
            sign = 1 if node in live else -1
            values[node] = max(0.0, values[parent] + (1 - values[parent]) * sign / steps[node])
        return scored.along_paths(values)

    def _steps(self, tree: CreditTree, scored: ScoredTree) -> dict[int, int]:
        """Least number of nodes from each node to a correct leaf, itself included; without those that lead to none."""
        steps: dict[int, int] = {}
        for node in (*reversed(scored.parents), 0):
            if node in tree.rewards and tree.rewards[node] >= self._success:
                steps[node] = 1
            elif below := [steps[child] for child in scored.children[node] if child in steps]:
                steps[node] = 1 + min(below)
        return steps
