"""AEPO: entropy shares rollouts out between the prompt and branches, and branching in a row gets harder."""

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from treeroll.policies.branch.step_entropy import StepEntropyParams, entropy_change, step_entropy
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import Why, because


class AEPO:
    """Of k rollouts, m = k * sigmoid(beta * (H_root - H_tool)) start from the prompt; k - m are for branches.

    Behind each step, `forks` branches start if (alpha + gamma * dH) * (1 - P) > tau: dH is the entropy of the step less
    that of the first step on its path, and P = gamma * l after l steps in a row that branched, so that branches do not
    crowd on few paths. Entropies of steps are taken as in `arpo`.

    k is the run's leaves. The first rollout runs to its end before anything else starts, and gives H_root, the entropy
    of its first step, and H_tool, the mean over its later ones. So all others have read it and are retrospective: it
    alone estimates the policy's mean reward, and it is one of the m.

    Known from two secondary sources only, which agree on the formulas; no code was available. Ours: how H_root and
    H_tool come to be known; where the first rollout made no call they count as equal; m is rounded, and at least 1.
    Paths wait at the end of each step and are decided together, the first rollout's with those of equal depth; what is
    left of k - m goes to the highest value first, then in path order; 1 - P is at least 0. What no branch took starts
    from the prompt at the end, without branches. A discarded path is not replaced. A step is a segment of whatever
    segment policy the run has. The sources give no values: alpha and gamma are ARPO's, beta is 1, and with tau equal to
    alpha a path branches where its entropy has risen.
    """

    name: ClassVar[str] = "aepo"
    summary: ClassVar[str] = "rollouts that branch where the model became less sure, but not everywhere in a row"
    paper: ClassVar[str] = "AEPO, arXiv 2510.14545"
    explains: ClassVar[Mapping[str, str]] = {
        "aepo.value": "its value of {value} is above tau {tau} (entropy changed by {change}, {row} branches in a "
        "row before), and {left} rollouts are left",
        "aepo.share": "{count} of the {left} rollouts that are left begin at the prompt, by the entropies of the "
        "first one",
        "aepo.rest": "no branch took {count} of the {left} rollouts that are left",
    }
    needs: ClassVar[Needs] = Needs(hold=True, tokens=True, entropy=0.0)

    class Params(StepEntropyParams):
        """How rollouts are shared out, and where they branch."""

        beta: float = Field(1.0, ge=0, le=1e6, description="how much the entropies of the first rollout move m")
        alpha: float = Field(0.5, ge=0, le=1e6, description="value of a branch where entropy is as at first")
        gamma: float = Field(
            0.2, ge=0, le=1e6, description="value of a unit of entropy, and penalty of a branch before"
        )
        tau: float = Field(0.5, ge=0, le=1e6, description="value above which a path branches")
        forks: int = Field(1, ge=1, le=MAX_FANOUT, description="Z, branches that start there")

    def __init__(self, params: Params, limits: Limits) -> None:
        self.max_leaves = limits.leaves
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return AEPOGrowth(self._params, self.max_leaves)


def from_prompt(params: AEPO.Params, rollouts: int, first: list[Node]) -> int:
    """m, 1..rollouts, by the steps of the first rollout in order."""
    root, *later = (step_entropy(params, node) for node in first)
    gap = root - math.fsum(later) / len(later) if later else 0.0
    # A sigmoid that does not overflow.
    share = (1 + math.tanh(params.beta * gap / 2)) / 2
    return max(1, round(rollouts * share))


class AEPOGrowth:
    """The first rollout, then rounds over the paths of equal depth, then what is left."""

    def __init__(self, params: AEPO.Params, rollouts: int) -> None:
        self._params = params
        # These change only when nothing runs, so that arrival cannot matter.
        self._left = rollouts - 1
        self._shared_out = False
        self._filled_up = False
        self._depth = 0  # of the last round
        self._ends: dict[int, list[Node]] = defaultdict(list)  # depth -> ends of steps, for rounds to come
        self._row: dict[int, int] = {}  # node that branched -> steps in a row up to it that did

    def start(self, tree: Tree) -> list[Expansion]:
        """The first rollout."""
        return [Expansion(tree.root.number, 1, BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """A path waits for the round of its depth, while rounds have anything to give."""
        if node.status is not NodeStatus.INNER:
            return []
        if self._filled_up or not self._left:
            return [Expansion(node.number, 0)]
        self._ends[node.depth].append(node)
        return [] if self._shared_out else [Expansion(node.number, 0)]

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """The rest of the m rollouts, then round by round, then what is left."""
        if not self._shared_out:
            self._shared_out = True
            others = from_prompt(self._params, self._left + 1, tree.nodes[1:]) - 1
            if others:
                return self._at_prompt(tree, others, BranchReason.INITIAL)
        while self._depth < max(self._ends, default=0):
            self._depth += 1
            if expansions := self._round(tree, self._ends.pop(self._depth, [])):
                return expansions
        self._filled_up = True
        return self._at_prompt(tree, self._left, BranchReason.FALLBACK) if self._left else []

    def _at_prompt(self, tree: Tree, count: int, reason: BranchReason) -> list[Expansion]:
        rule = "aepo.share" if reason is BranchReason.INITIAL else "aepo.rest"
        why = because(rule, count=count, left=self._left)
        self._left -= count
        return [Expansion(tree.root.number, count, reason, Decision.RETROSPECTIVE, resume=False, why=why)]

    def _round(self, tree: Tree, nodes: list[Node]) -> list[Expansion]:
        """Branches behind the steps of highest value; every path that waits goes on."""
        values = {node.number: self._value(tree, node) for node in nodes}
        in_order = tree.in_path_order(list(values))
        forks = dict.fromkeys(in_order, 0)
        whys: dict[int, Why] = {}
        for number in sorted(in_order, key=lambda number: -values[number]):
            if values[number] > self._params.tau and self._left:
                forks[number] = min(self._params.forks, self._left)
                row = self._row.get(tree.nodes[number].parent, 0)
                whys[number] = because(
                    "aepo.value",
                    change=entropy_change(self._params, tree, tree.nodes[number]),
                    value=values[number],
                    tau=self._params.tau,
                    row=row,
                    left=self._left,
                )
                self._left -= forks[number]
                self._row[number] = row + 1
        return [
            Expansion(number, forks[number], BranchReason.FORK, Decision.RETROSPECTIVE, why=whys.get(number))
            for number in in_order
            # The first rollout, whose decision is no retrospective one, has ended already.
            if forks[number] or tree.nodes[number].decision is Decision.RETROSPECTIVE
        ]

    def _value(self, tree: Tree, node: Node) -> float:
        params = self._params
        penalty = params.gamma * self._row.get(node.parent, 0)
        return (params.alpha + params.gamma * entropy_change(params, tree, node)) * max(0.0, 1 - penalty)
