"""PETS online: how much the first four answers agree says how many samples there will be."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from pydantic import Field

from treeroll.policies.branch.answers import AnswerParams
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT, LeafCount, within_leaves
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import because

# How often each answer occurs among the first samples: all alike, three, two and two, two, none.
PATTERNS: Final = ((4,), (3, 1), (2, 2), (2, 1, 1), (1, 1, 1, 1))
FIRST: Final = 4
AVERAGE: Final = 16


class PETSOnline:
    """Four samples of the prompt; the pattern of their answers has a budget, and the rest of that is sampled at once.

    `budgets` are samples in all, the first four included, for answers that are all alike, three alike, two and two, two
    alike, all different. A sample without an answer, or a discarded one, is like no other. Two budgets that differ only
    between the first and the others are the source's variant for free answers.

    Samples after the first ones are started by what those answered, so they are retrospective: a mean of rewards is
    that of the first four alone. The leaves are for a majority, or for training on it.

    Budgets are learned from tasks sampled before, by `treeroll.policies.allocate.pets_online`: growths know one tree.
    Until you set yours, every pattern gets the source's average of 16, which is that of no pattern in particular.
    """

    name: ClassVar[str] = "pets_online"
    summary: ClassVar[str] = "four samples, then as many more as their agreement has a budget for"
    paper: ClassVar[str] = "PETS, arXiv 2602.16745"
    explains: ClassVar[Mapping[str, str]] = {
        "pets_online.pattern": "of the first four samples {alike} agree, with {answers} different answers: the "
        "budget for that is {budget} samples, {more} more",
    }
    needs: ClassVar[Needs] = Needs(text=True)

    class Params(AnswerParams):
        """Budgets by pattern."""

        budgets: tuple[Annotated[int, Field(ge=FIRST, le=MAX_FANOUT)], ...] = Field(
            (AVERAGE,) * len(PATTERNS),
            min_length=len(PATTERNS),
            max_length=len(PATTERNS),
            description="samples where the first four are all alike, three, two and two, two, none",
        )

    def __init__(self, params: Params, limits: Limits) -> None:
        self.leaf_count = LeafCount("max(budgets)", max, {"budgets": params.budgets}, least={"budgets": FIRST})
        self.max_leaves = within_leaves(self.name, self.leaf_count, limits)
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return PETSOnlineGrowth(self._params)


class PETSOnlineGrowth:
    """The first answers."""

    def __init__(self, params: PETSOnline.Params) -> None:
        self._params = params
        self._answers: Counter[str] = Counter()
        self._asked = False

    def start(self, tree: Tree) -> list[Expansion]:
        """The first samples."""
        return [Expansion(tree.root.number, FIRST, BranchReason.INITIAL)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Note the answer of one of the first that ended."""
        if node.status is NodeStatus.LEAF and not self._asked:
            answer = self._params.read(tree.completion_text(node.number))
            if answer is not None:
                self._answers[answer] += 1
        return []

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """The rest, once."""
        if self._asked:
            return []
        self._asked = True
        alone = [1] * (FIRST - self._answers.total())
        pattern = tuple(sorted((*self._answers.values(), *alone), reverse=True))
        more = self._params.budgets[PATTERNS.index(pattern)] - FIRST
        why = because("pets_online.pattern", alike=pattern[0], answers=len(pattern), budget=more + FIRST, more=more)
        return [Expansion(tree.root.number, more, BranchReason.FORK, Decision.RETROSPECTIVE, why=why)] if more else []
