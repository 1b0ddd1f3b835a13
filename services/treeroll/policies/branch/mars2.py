"""MARS2: Thompson sampling says where in the tree the next answer begins, and which of several models gives it."""

from collections import defaultdict
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, field_validator

from treeroll.policies.branch.mean_posterior import MeanPosterior
from treeroll.policy import base
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import Why, because


class MARS2:
    """`leaves` answers, one after the other, each begun at a node that is found from the prompt down.

    At each node on the way two means are drawn: of the rewards of answers that were new here, and of those that were
    begun further down. If the first is not less, or there is nothing to go down to, the answer begins here. Else the
    way goes on at the child with the highest draw, from the rewards of all answers through it. The model is the one
    with the highest draw, from the rewards of all answers of the tree that it gave. Posteriors are those of
    `treeroll.policies.branch.mean_posterior`, made for rewards of 0 to 1. That is AB-MCTS-A as treequest has it by
    default and as the release calls it; budget (8 answers in the recipe) and one at a time are the release's.

    Every answer but the first, or the first `parallel`, is begun after reading others, so it is retrospective: leaves
    are for training or for an answer, not for estimates of the mean reward.

    Ours: what a node is. The source's is a whole answer, and its child another one whose model was shown it, to refine.
    Here a finished path is an end, and nothing can be said behind it; nodes are segments, and below one begin other
    continuations of what it has begun. So leaves are nowhere to go down to, and refinement is left out. An answer was
    new at the node where its branch began, and at those that the branch itself has made. Also ours: `parallel`; answers
    that were discarded or that nobody could score tell nothing; equal draws go to the new answer, the first child and
    the first model. With several models, answers have the place of theirs in `models`, from 1, as their group.
    """

    name: ClassVar[str] = "mars2"
    summary: ClassVar[str] = "tree search: Thompson sampling of where the next answer begins and which model gives it"
    paper: ClassVar[str] = "MARS2, arXiv 2604.14564"
    explains: ClassVar[Mapping[str, str]] = {
        "mars2.new": "answer {answer} begins here, at depth {depth}: the mean drawn for a new one, {new}, is not "
        "below that for going further down, {below}",
        "mars2.end": "answer {answer} begins here, at depth {depth}: there is nothing to go further down to",
    }

    class Params(base.Params):
        """Who answers, and how many answers are on their way at once."""

        models: tuple[str, ...] = Field(
            ("",), min_length=1, description="names of the models that answer; an empty one is the tree's own"
        )
        parallel: int = Field(
            1, ge=1, le=MAX_FANOUT, description="answers that are begun together, without reading each other"
        )

        @field_validator("models")
        @classmethod
        def _differ(cls, models: tuple[str, ...]) -> tuple[str, ...]:
            if len(set(models)) < len(models):
                raise ValueError("it must name each model once")
            return models

    def __init__(self, params: Params, limits: Limits) -> None:
        self.max_leaves = limits.leaves
        self.needs = Needs(rewards=True, models=tuple(filter(None, params.models)))
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return MARS2Growth(self._params, self.max_leaves)


class MARS2Growth:
    """What rewards have told of nodes and of models."""

    def __init__(self, params: MARS2.Params, leaves: int) -> None:
        self._params = params
        self._leaves = leaves
        self._begun = 0  # answers
        self._seen = 0  # of tree.leaves
        self._children: dict[int, list[Node]] = defaultdict(list)  # that are no ends
        self._new: dict[int, MeanPosterior] = defaultdict(MeanPosterior)
        self._below: dict[int, MeanPosterior] = defaultdict(MeanPosterior)
        self._through: dict[int, MeanPosterior] = defaultdict(MeanPosterior)
        self._given = [MeanPosterior() for _ in params.models]

    def start(self, tree: Tree) -> list[Expansion]:
        """The first answers."""
        return self._round(tree)

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Answers run to their ends."""
        if node.status is NodeStatus.INNER:
            self._children[node.parent].append(node)
        return []

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """The next answers: all that were begun have ended, and have their rewards."""
        if self._begun == self._leaves:
            return []
        # In path order, so that sums round the same way whatever the order of arrival.
        for leaf in tree.in_path_order(tree.leaves[self._seen :]):
            self._learn(tree, tree.nodes[leaf])
        self._seen = len(tree.leaves)
        return self._round(tree)

    def _learn(self, tree: Tree, leaf: Node) -> None:
        reward = tree.rewards[leaf.number]
        if reward is None:
            return
        self._given[max(leaf.group - 1, 0)].tell(reward)
        node, rest = leaf, self._new
        while node.number:
            self._through[node.number].tell(reward)
            rest[node.parent].tell(reward)
            # A branch that begins at a node has an index of its own there, and goes on as child 0 of its own nodes.
            if node.sibling_index:
                rest = self._below
            node = tree.nodes[node.parent]

    def _round(self, tree: Tree) -> list[Expansion]:
        count = min(self._params.parallel, self._leaves - self._begun)
        turns = range(self._begun, self._begun + count)
        self._begun += count
        return [self._answer(tree, turn) for turn in turns]

    def _answer(self, tree: Tree, turn: int) -> Expansion:
        models, place = self._params.models, self._model(tree, turn)
        group = place + 1 if len(models) > 1 else 0
        if len(tree.nodes) == 1:
            return Expansion(0, 1, BranchReason.INITIAL, group=group, resume=False, model=models[place])
        node, why = self._descend(tree, turn)
        return Expansion(
            node.number,
            1,
            BranchReason.FORK,
            Decision.RETROSPECTIVE,
            group=group,
            resume=False,
            model=models[place],
            why=why,
        )

    def _model(self, tree: Tree, turn: int) -> int:
        """Place of the one that answers."""
        places = range(len(self._given))
        return max(places, key=lambda place: self._given[place].draw(tree.seed, "mars2", turn, "model", place))

    def _descend(self, tree: Tree, turn: int) -> tuple[Node, Why]:
        """Where the answer begins."""
        node = tree.root
        while children := self._children.get(node.number):
            key = ("mars2", turn, node.depth)
            new = self._new[node.number].draw(tree.seed, *key, "new")
            below = self._below[node.number].draw(tree.seed, *key, "below")
            if new >= below:
                return node, because("mars2.new", answer=turn + 1, depth=node.depth, new=new, below=below)
            draws = {
                child.sibling_index: self._through[child.number].draw(tree.seed, *key, child.sibling_index)
                for child in children
            }
            node = max(children, key=lambda child: (draws[child.sibling_index], -child.sibling_index))
        return node, because("mars2.end", answer=turn + 1, depth=node.depth)
