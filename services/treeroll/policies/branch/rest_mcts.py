"""ReST-MCTS*: Monte-Carlo tree search that expands one node at a time and rolls its best child forward."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.branch.settled import Settled, SettledParams
from treeroll.policies.branch.success import SuccessRates
from treeroll.policies.branch.value import Confidence, PathConfidence, ValueModel
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT, LeafCount, within_leaves
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import because

# Added to the value of a child that nothing was backed up through.
UNVISITED_BONUS = 1.0
# Weight of the roll-forward in the value of the child it began at.
ROLLED_SHARE = 0.5


class RestMCTS:
    """Expands one node into `width` segments at a time, `iterations` times or until `successes` paths have succeeded.

    The node is found from the prompt down, at each step to the child with the best V + c * sqrt(2 ln N_parent / N), or
    V + 1 where N is 0. Of its children the one with the best value is rolled forward by `roll_forward` segments, and
    its V becomes 0.5 V + 0.5 best, best being the best value on the way. Then one more visit N, and V = sum N_c V_c /
    sum N_c over the children c, for every node above it. The source's width is 3, c 0.7, the roll-forward 3.

    Every choice reads values of what came later, so all nodes below the first segment are retrospective: their path
    weights are 0, and leaves are for training by the policy's own credit, not for estimates of the mean reward.

    Ours: the source's values come from a learned model of steps that we do not have. A finished path is worth 1 if its
    reward is `success` or more, and else 0. An unfinished one is worth exp of the mean log probability of its last
    segment (`confidence`) or of all of its tokens (`path_confidence`), or the share of successes among the leaves below
    it, 0 without any (`success`, which needs a roll-forward as long as paths are). Where a roll-forward reaches the end
    of its path, best is what that end is worth. The stop at V >= 0.9 becomes one at a success, as nothing else is sure.
    The number of iterations; rolled segments stay in the tree, and one of them counts as a child of the node above it
    when that is expanded; when the search stops, paths that were rolled forward run to their ends; equal scores go to
    the first child. Children with equal text are not merged, and nobody asks the model whether a path has ended;
    `settled_after` leaves settled subtrees alone.
    """

    name: ClassVar[str] = "rest_mcts"
    summary: ClassVar[str] = "tree search: expand the best node by UCB, roll its best child forward, back up the value"
    paper: ClassVar[str] = "ReST-MCTS*, arXiv 2406.03816"
    explains: ClassVar[Mapping[str, str]] = {
        "rest_mcts.select": "expansion {iteration} of {iterations}: down the tree by UCB, which is {score} here "
        "(value {value}, {visits} visits)",
    }
    needs: ClassVar[Needs] = Needs(hold=True, rewards=True)

    class Params(SettledParams):
        """Shape of the search, and what values are."""

        width: int = Field(3, ge=1, le=MAX_FANOUT, description="children of an expansion")
        iterations: int = Field(16, ge=1, le=MAX_FANOUT, description="expansions, the prompt's included")
        roll_forward: int = Field(3, ge=0, le=MAX_FANOUT, description="segments that the best child is rolled forward")
        exploration: float = Field(0.7, ge=0, le=1e6, description="c, weight of the visit term")
        value: Literal["confidence", "path_confidence", "success"] = Field(
            "confidence", description="what an unfinished path is worth: the model's confidence, or success below"
        )
        success: float = Field(0.5, ge=-1e6, le=1e6, description="smallest reward that is a success")
        successes: int = Field(1, ge=1, le=MAX_FANOUT, description="successful paths after which the search stops")

    def __init__(self, params: Params, limits: Limits) -> None:
        # An expansion is of a path that goes on in one of its children.
        self.leaf_count = LeafCount(
            "1 + (width - 1) * iterations",
            lambda width, iterations: 1 + (width - 1) * iterations,
            {"width": params.width, "iterations": params.iterations},
        )
        self.max_leaves = within_leaves(self.name, self.leaf_count, limits)
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return RestMCTSGrowth(self._params)


class RestMCTSGrowth:
    """Values and visits, and which of three things is going on: an expansion, a roll-forward, or the end."""

    def __init__(self, params: RestMCTS.Params) -> None:
        self._params = params
        self._rates = SuccessRates(params.success)
        self._model = self._value_model()
        self._settled = Settled(params, self._rates)
        self._children: dict[int, list[Node]] = defaultdict(list)
        self._values: dict[int, float] = {}  # of visited nodes
        self._visits: Counter[int] = Counter()
        self._closed: set[int] = set()  # nothing at or below can be expanded
        self._tips: list[Node] = []  # where roll-forwards ended
        self._ended: list[Node] = []  # leaves whose outcome has not been counted
        self._iterations, self._successes = 1, 0
        self._expanded = 0
        self._rolled: Node | None = None  # the child that is being rolled forward
        self._steps = 0  # that it still goes
        self._stopped = False

    def _value_model(self) -> ValueModel:
        """What unfinished paths are worth."""
        match self._params.value:
            case "confidence":
                return Confidence()
            case "path_confidence":
                return PathConfidence()
            case "success":
                return self._rates

    def start(self, tree: Tree) -> list[Expansion]:
        """The prompt's children."""
        return [Expansion(tree.root.number, self._params.width, BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Children wait for each other; a roll-forward, and everything once the search has stopped, goes on."""
        self._children[node.parent].append(node)
        if node.status is not NodeStatus.INNER:
            if node.status is NodeStatus.LEAF:
                self._ended.append(node)
            self._close(tree, node)
            return []
        if self._rolled is not None:
            self._steps -= 1
        goes_on = self._stopped or (self._rolled is not None and self._steps > 0)
        return [_onward(node)] if goes_on else []

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """From a whole expansion to its roll-forward, and from there to the next expansion."""
        if self._stopped:
            return []
        for number in self._rates.update(tree):
            if self._settled.here(tree.nodes[number]):
                self._close(tree, tree.nodes[number])
        self._model.update(tree)
        self._successes += sum(self._own(leaf) == 1 for leaf in self._ended)
        self._ended = []
        if self._rolled is None:
            best = self._best_child()
            if best is not None and (onward := self._roll(best)):
                return onward
        else:
            best, self._rolled = self._rolled, None
        if best is not None:
            self._back_up(tree, best)
        return self._next(tree)

    def _best_child(self) -> Node | None:
        """The most valuable child of the last expansion that is no discarded path."""
        kept = [child for child in self._in_order(self._expanded) if child.status is not NodeStatus.PRUNED]
        return max(kept, key=self._value, default=None)

    def _roll(self, best: Node) -> list[Expansion]:
        """Go on behind the best child, or behind what an earlier roll-forward has put below it."""
        below = self._below(best)
        tip = below[-1] if below else best
        self._steps = self._params.roll_forward - len(below)
        if tip.status is not NodeStatus.INNER or self._steps <= 0:
            return []
        self._rolled = best
        return [_onward(tip)]

    def _below(self, node: Node) -> list[Node]:
        """The chain that roll-forwards have put below a node that was never expanded."""
        chain = []
        while children := self._children.get(node.number):
            (node,) = children
            chain.append(node)
        return chain

    def _back_up(self, tree: Tree, best: Node) -> None:
        chain = self._below(best)
        tip = chain[-1] if chain else best
        if tip.status is NodeStatus.INNER:
            self._tips.append(tip)
        value = self._own(best)
        if tip is not best:
            seen = [tip] if tip.status is NodeStatus.LEAF else chain
            kept = [self._own(node) for node in seen if node.status is not NodeStatus.PRUNED]
            if kept:
                value = (1 - ROLLED_SHARE) * value + ROLLED_SHARE * max(kept)
        self._values[best.number] = value
        self._visits[best.number] += 1
        node = best
        while node.number:
            node = tree.nodes[node.parent]
            self._visits[node.number] += 1
            self._values[node.number] = self._mean_below(node)

    def _mean_below(self, node: Node) -> float:
        visited = [child.number for child in self._in_order(node.number) if self._visits[child.number]]
        whole = math.fsum(self._visits[child] * self._values[child] for child in visited)
        return whole / sum(self._visits[child] for child in visited)

    def _next(self, tree: Tree) -> list[Expansion]:
        """The next expansion, or the end of the search."""
        params = self._params
        if self._iterations == params.iterations or self._successes >= params.successes or 0 in self._closed:
            self._stopped = True
            open_ = [tip.number for tip in self._tips if tip.number not in self._children]
            return [_onward(tree.nodes[number]) for number in tree.in_path_order(open_)]
        self._iterations += 1
        chosen = self._select()
        self._expanded = chosen.number
        why = because(
            "rest_mcts.select",
            iteration=self._iterations,
            iterations=params.iterations,
            score=self._uct(chosen),
            value=self._value(chosen),
            visits=self._visits[chosen.number],
        )
        return [Expansion(self._expanded, params.width - 1, BranchReason.FORK, Decision.RETROSPECTIVE, why=why)]

    def _select(self) -> Node:
        """Down from the prompt to the first node that has not all of its children."""
        open_ = [child for child in self._in_order(0) if child.number not in self._closed]
        while True:
            node = max(open_, key=self._uct)
            children = self._in_order(node.number)
            if len(children) < self._params.width:
                return node
            open_ = [child for child in children if child.number not in self._closed]

    def _uct(self, child: Node) -> float:
        visits = self._visits[child.number]
        if not visits:
            return self._value(child) + UNVISITED_BONUS
        above = 2 * math.log(self._visits[child.parent]) / visits
        return self._value(child) + self._params.exploration * math.sqrt(above)

    def _value(self, node: Node) -> float:
        """V: what was backed up, or else the node's own value."""
        value = self._values.get(node.number)
        return self._own(node) if value is None else value

    def _own(self, node: Node) -> float:
        model = self._rates if node.status is NodeStatus.LEAF else self._model
        return model.of(node) or 0.0

    def _in_order(self, number: int) -> list[Node]:
        return sorted(self._children.get(number, ()), key=lambda child: child.sibling_index)

    def _close(self, tree: Tree, node: Node) -> None:
        """A path ended, or is settled; so does what is above it, where all children are there and closed."""
        self._closed.add(node.number)
        while node.number:
            node = tree.nodes[node.parent]
            children = self._children[node.number]
            if len(children) < self._params.width or not all(child.number in self._closed for child in children):
                return
            self._closed.add(node.number)


def _onward(node: Node) -> Expansion:
    return Expansion(node.number, 0, decision=Decision.RETROSPECTIVE)
