"""ARPO: rollouts of an agent that branch by chance, likelier where a tool's answer came to an unsure model."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from treeroll.policies.branch.step_entropy import StepEntropyParams, entropy_change
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT, LeafCount, within_leaves
from treeroll.tree import rng
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import because


class ARPO:
    """Of n slots, `initial` rollouts take one each; behind a step, a path may become `beam` paths while slots remain.

    The chance is base + weight * dH, held within 0..1, where dH is the entropy of the step less that of the first step
    on its path. The entropy of a step is the sum over its first `window` sampled tokens, divided by ln(vocabulary).
    Copies begin behind the tool's answer. Once no path lives, one rollout at a time starts from the prompt, and may
    branch too, until all slots are taken. n is the run's leaves; (16, 8, 2) with base 0.5, weight 0.2 and window 20 are
    the release's, as are 3 calls in a path: segment policy `agent_step` with max_depth 4.

    All live paths wait at the end of their step, and a round decides them together, as the release's loop does; once
    no slot is left, nobody waits. A round has read steps no deeper than its own, so its forks are boundary decisions,
    and path weights make the leaves of the initial rollouts an unbiased average. Rollouts that start later have read
    how many paths have ended: they are retrospective, and so is all that branches from them.

    Ours: entropies are estimates from top_logprobs candidates (10 in the release), upper bounds that count what the
    candidates leave; `vocabulary` is a setting, because growth does not see the model. A step's entropy decides the
    branch behind that same step, so dH is 0 behind a first one; the baseline is looked up on the path, not kept by
    slot. Slots go to paths in path order. A path gets all beam - 1 copies by one draw, or those that there are slots
    for. A discarded path keeps its slot, and nothing is duplicated to make up for it. A step is a segment of whatever
    segment policy the run has.
    """

    name: ClassVar[str] = "arpo"
    summary: ClassVar[str] = "rollouts that branch behind a step, likelier where the model became less sure"
    paper: ClassVar[str] = "ARPO, arXiv 2507.19849"
    explains: ClassVar[Mapping[str, str]] = {
        "arpo.chance": "the draw of {draw} is below its chance of {chance} (the entropy of the step changed by "
        "{change}), and {left} slots are left",
        "arpo.rest": "no path lives, and {left} slots are left",
    }
    needs: ClassVar[Needs] = Needs(hold=True, tokens=True, entropy=0.0)

    class Params(StepEntropyParams):
        """How many rollouts, and how likely they branch."""

        initial: int = Field(8, ge=1, le=MAX_FANOUT, description="first rollouts")
        beam: int = Field(2, ge=1, le=MAX_FANOUT, description="paths that one becomes where it branches")
        base: float = Field(0.5, ge=0, le=1, description="P0, chance to branch where entropy is as at first")
        weight: float = Field(0.2, ge=0, le=1e6, description="w, chance that each unit of entropy adds")

    def __init__(self, params: Params, limits: Limits) -> None:
        within_leaves(self.name, LeafCount("initial", int, {"initial": params.initial}), limits)
        self.max_leaves = limits.leaves
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return ARPOGrowth(self._params, self.max_leaves)


class ARPOGrowth:
    """Collects the paths that wait, and decides about all of them when the last one has come."""

    def __init__(self, params: ARPO.Params, slots: int) -> None:
        self._params = params
        self._left = slots  # changes between rounds only, so that arrival cannot matter
        self._waiting: list[int] = []

    def start(self, tree: Tree) -> list[Expansion]:
        """The first rollouts."""
        self._left -= self._params.initial
        return [Expansion(tree.root.number, self._params.initial, BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """A path waits for the round, if the round has anything to give."""
        if node.status is not NodeStatus.INNER:
            return []
        if not self._left:
            return [Expansion(node.number, 0)]
        self._waiting.append(node.number)
        return []

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """The round of the paths that wait; one more rollout if none does."""
        waiting, self._waiting = tree.in_path_order(self._waiting), []
        if waiting:
            return [self._behind(tree, tree.nodes[number]) for number in waiting]
        if not self._left:
            return []
        why = because("arpo.rest", left=self._left)
        self._left -= 1
        return [Expansion(tree.root.number, 1, BranchReason.FALLBACK, Decision.RETROSPECTIVE, resume=False, why=why)]

    def _behind(self, tree: Tree, node: Node) -> Expansion:
        """The path goes on, alone or with copies, which have read as much as it has."""
        params, change = self._params, entropy_change(self._params, tree, node)
        chance, draw = params.base + params.weight * change, rng.uniform(tree.seed, "arpo", *tree.path(node.number))
        copies = min(params.beam - 1, self._left) if draw < chance else 0
        why = because("arpo.chance", change=change, chance=chance, draw=draw, left=self._left) if copies else None
        self._left -= copies
        return Expansion(node.number, copies, BranchReason.FORK, node.decision, why=why)
