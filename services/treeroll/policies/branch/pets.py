"""PETS: one sample after another, until the majority of their answers is settled."""

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from treeroll.policies.allocate.majority import leader_gain
from treeroll.policies.branch.answers import AnswerParams
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT, LeafCount, within_leaves
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import Why, because


class PETS:
    """`initial` samples of the prompt, then `batch` more at a time, while one more promises enough for their majority.

    h is the probability of the most frequent answer to be that of all samples there could be: the shares of the answers
    seen, and of one not yet seen, have a Dirichlet posterior that begins with 1 for each. Samples go on while the best
    next answer would raise h by more than `gain`, and end before that where those that the run's `leaves` leave room
    for cannot change the majority, or there is none. After n equal answers the rise is 2^-(n+2): with a `gain` of 0.02
    four are enough. Samples without an answer, and discarded ones, do not vote.

    Samples after the first ones are started by what others answered, so they are retrospective: a mean of rewards is
    that of the first ones alone. The leaves are for a majority, or for training on it.

    This is the rule of PETS offline seen by one task. The source spends the budget of a batch on one task after
    another, wherever the rise is highest; `gain` is the price of a sample in its place. Ours: the price, and that tasks
    end for themselves; h is exact, where the source takes 500 draws; four first samples, as its online variant has, for
    its one; batches.
    """

    name: ClassVar[str] = "pets"
    summary: ClassVar[str] = "samples one by one, until one more could do little for the majority of answers"
    paper: ClassVar[str] = "PETS, arXiv 2602.16745"
    explains: ClassVar[Mapping[str, str]] = {
        "pets.gain": "one more sample may raise the majority's chance by {rise}, more than {gain}: {first} votes "
        "against {second}, and {left} samples are left",
        "pets.unknown": "no sample has an answer yet, and {left} are left",
    }
    needs: ClassVar[Needs] = Needs(text=True)

    class Params(AnswerParams):
        """When samples end."""

        initial: int = Field(4, ge=1, le=MAX_FANOUT, description="first samples")
        batch: int = Field(1, ge=1, le=MAX_FANOUT, description="samples that are then asked for at a time")
        gain: float = Field(
            0.02, ge=0, le=1, description="rise of the majority's chance below which no sample is asked for"
        )

    def __init__(self, params: Params, limits: Limits) -> None:
        within_leaves(self.name, LeafCount("initial", int, {"initial": params.initial}), limits)
        self.max_leaves = limits.leaves
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return PETSGrowth(self._params, self.max_leaves)


class PETSGrowth:
    """The votes so far, and how many samples were asked for."""

    def __init__(self, params: PETS.Params, leaves: int) -> None:
        self._params = params
        self._left = leaves - params.initial
        self._votes: Counter[str] = Counter()

    def start(self, tree: Tree) -> list[Expansion]:
        """The first samples."""
        return [Expansion(tree.root.number, self._params.initial, BranchReason.INITIAL)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Count the vote of a path that ended."""
        if node.status is NodeStatus.LEAF:
            answer = self._params.read(tree.completion_text(node.number))
            if answer is not None:
                self._votes[answer] += 1
        return []

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """More samples, or the end."""
        if self._left == 0:
            return []
        why = self._open() if self._votes else because("pets.unknown", left=self._left)
        if why is None:
            return []
        asked = min(self._params.batch, self._left)
        self._left -= asked
        return [Expansion(tree.root.number, asked, BranchReason.FORK, Decision.RETROSPECTIVE, why=why)]

    def _open(self) -> Why | None:
        """Why one more sample promises something; None if it does not."""
        first, second, *_ = (*sorted(self._votes.values(), reverse=True), 0)
        if first - second > self._left:
            return None
        rise = leader_gain(list(self._votes.values()))
        if rise <= self._params.gain:
            return None
        return because("pets.gain", rise=rise, gain=self._params.gain, first=first, second=second, left=self._left)
