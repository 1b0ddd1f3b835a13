"""Growth by rounds: some of the waiting paths go on by one segment each, the rest wait; then again."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from pydantic import Field

from treeroll.policies.branch.frontier_value import ValueParams
from treeroll.policies.branch.incumbent import Incumbent
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import Why


class RoundParams(ValueParams):
    """Shape of the tree, and when it ends.

    Ours: a round decides once all of the last one's segments are there, so that the order of arrival cannot matter; a
    source that fills one slot at a time is a round of `parallel` slots here. A chosen path becomes `width` paths until
    as many have begun as the run has `leaves`, and goes on alone from then on. The tree ends when every path has, or,
    with `tokens`, once it has so many and a leaf; until there is a leaf, the first choice of the deepest goes on alone.

    With `revive`, paths that can no longer beat the best finished leaf wait, but for that share of them
    (`treeroll.policies.branch.incumbent`); the tree also ends when nothing else is left. Rewards must be from 0 to 1.
    """

    parallel: int = Field(4, ge=1, le=MAX_FANOUT, description="paths that go on in a round")
    width: int = Field(2, ge=1, le=MAX_FANOUT, description="paths that a chosen one becomes, while leaves allow it")
    tokens: int | None = Field(None, ge=1, description="completion tokens after which a tree ends; none: no limit")
    revive: float | None = Field(
        None, ge=0, le=1, description="share of the paths below the best leaf that still go on; none: all may"
    )

    @property
    def needs(self) -> Needs:
        """What scores come from, and the best leaf."""
        needs = super().needs
        return replace(needs, rewards=needs.rewards or self.revive is not None)


class Choice(Protocol):
    """The rule of a policy, and its memory of one tree."""

    def choose(self, tree: Tree, waiting: Sequence[Node], left: float) -> list[Node]:
        """Which of the waiting, in path order and at least one, go on, first choice first.

        `left` is the part of the tree's budget that is left, 0..1: of leaves, or of tokens if that is less.
        """
        ...

    def why(self, node: Node) -> Why:
        """Why it was chosen last."""
        ...


class RoundPolicy:
    """What policies of rounds share."""

    def __init__(self, params: RoundParams, limits: Limits) -> None:
        self.max_leaves = limits.leaves
        self.needs = params.needs
        self._round_params = params
        self._max_tokens = limits.max_tokens

    def choice(self) -> Choice:
        """A fresh rule, for a tree."""
        raise NotImplementedError

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return RoundGrowth(self._round_params, self.choice(), self.incumbent(), self.max_leaves)

    def incumbent(self) -> Incumbent | None:
        """What sets paths aside in a tree, if anything does."""
        params = self._round_params
        return None if params.revive is None else Incumbent(params.model(), params.revive, self._max_tokens)


class RoundGrowth:
    """What waits, and how much of the budget is used."""

    def __init__(self, params: RoundParams, choice: Choice, incumbent: Incumbent | None, leaves: int) -> None:
        self._params = params
        self._choice = choice
        self._incumbent = incumbent
        self._gate = params.gated(params.model())
        self._leaves = leaves
        self._begun = min(params.width, leaves)  # paths
        self._ended = 0
        self._tokens = 0
        self._waiting: list[int] = []

    def start(self, tree: Tree) -> list[Expansion]:
        """The prompt's paths."""
        return [Expansion(tree.root.number, self._begun, BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Every path waits for its round."""
        self._tokens += node.n_tokens
        if node.status is NodeStatus.INNER:
            self._waiting.append(node.number)
        else:
            self._ended += 1
        return []

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """The next round."""
        left = self._left()
        waiting = self.candidates(tree, [tree.nodes[number] for number in tree.in_path_order(self._waiting)])
        if not waiting or (left <= 0 and tree.leaves):
            return []
        if left <= 0:
            # The shortest way to a leaf, of those that are equally short the first choice.
            depth = max(node.depth for node in waiting)
            deepest = [node for node in waiting if node.depth == depth]
            return self.go_on(tree, self._choice.choose(tree, deepest, left)[0], 0)
        if self._incumbent is not None:
            waiting = self._incumbent.hopeful(tree, waiting)
        chosen = self._choice.choose(tree, waiting, left) if waiting else []
        expansions = []
        for node in chosen:
            forks = min(self._params.width - 1, self._leaves - self._begun)
            self._begun += forks
            expansions += self.go_on(tree, node, forks)
        return expansions

    def candidates(self, tree: Tree, waiting: list[Node]) -> list[Node]:
        """Which of the waiting may be chosen, in their order. Where none may, the tree ends."""
        return self._gate.open_to(tree, waiting) if self._gate is not None and waiting else waiting

    def go_on(self, tree: Tree, node: Node, forks: int) -> list[Expansion]:
        """A chosen path goes on, with so many forks."""
        self._waiting.remove(node.number)
        why = self._choice.why(node) if forks else None
        return [Expansion(node.number, forks, decision=Decision.RETROSPECTIVE, why=why)]

    def _left(self) -> float:
        """Part of the budget that is left."""
        left = 1 - self._ended / self._leaves
        return left if self._params.tokens is None else min(left, 1 - self._tokens / self._params.tokens)
