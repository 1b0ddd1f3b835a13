"""UCT: down the tree by upper confidence bounds, to a path that waits."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from treeroll.policies.branch.rounds import Choice, RoundParams, RoundPolicy
from treeroll.policy.base import Limits
from treeroll.tree.node import Node
from treeroll.tree.tree import Tree
from treeroll.why import Why, because


class UCT(RoundPolicy):
    """From the prompt down to the child with the best Q + c * sqrt(2 ln N_parent / N), as far as a path that waits.

    N counts the nodes at and below a child, Q is the mean of their values; only children with a path that waits at or
    below them are looked at. Each choice of a round counts as a visit of all nodes on its way, so that the next one may
    go elsewhere. Rounds, forks and the end are as its parameters say.

    Choices read other paths, so all segments but the first are retrospective: leaves are for training or for an answer,
    not for estimates of the mean reward.

    The bound and c are as in ReST-MCTS*. Ours: the rest; nothing is rolled out, since a node's own value is backed up
    when it comes; one whose value is unknown counts as a visit and not in Q, which is 0.5 without any. Equal bounds go
    to the first child.
    """

    name: ClassVar[str] = "uct"
    summary: ClassVar[str] = "paths are chosen by upper confidence bounds on the values of what is below"
    paper: ClassVar[str] = "bound as in ReST-MCTS*, arXiv 2406.03816"
    explains: ClassVar[Mapping[str, str]] = {
        "uct.bound": "down the tree by upper confidence bounds, here {bound} as the best of {siblings} (mean value "
        "{mean}, {visits} visits)",
    }

    class Params(RoundParams):
        """How much to explore."""

        exploration: float = Field(0.7, ge=0, le=1e6, description="c, weight of the visit term")

    def __init__(self, params: Params, limits: Limits) -> None:
        super().__init__(params, limits)
        self._params = params

    def choice(self) -> Choice:
        """The search of one tree."""
        return Search(self._params)


class Search:
    """Visits of one tree's nodes, and the values below them, counted anew in each round: values may change."""

    def __init__(self, params: UCT.Params) -> None:
        self._params = params
        self._values = params.model()
        self._whys: dict[int, Why] = {}

    def choose(self, tree: Tree, waiting: Sequence[Node], left: float) -> list[Node]:
        """One descent each."""
        self._values.update(tree)
        visits, sums, known = Counter[int](), defaultdict[int, float](float), Counter[int]()
        # Path order, so that sums round the same way whatever the order of arrival; children before parents.
        for number in reversed(tree.in_path_order(list(range(len(tree.nodes))))):
            value = self._values.of(tree.nodes[number]) if number else None
            visits[number] += 1
            if value is not None:
                sums[number] += value
                known[number] += 1
            if number:
                parent = tree.nodes[number].parent
                visits[parent] += visits[number]
                sums[parent] += sums[number]
                known[parent] += known[number]
        means = {number: sums[number] / known[number] if known[number] else 0.5 for number in visits}
        open_: dict[int, list[Node]] = {}  # node -> children that lead to a waiting path, in path order
        seen: set[int] = set()
        for node in waiting:
            for step in tree.lineage(node.number):
                if step.number not in seen:
                    seen.add(step.number)
                    open_.setdefault(step.parent, []).append(step)
        self._whys.clear()
        return [self._descend(tree, open_, visits, means) for _ in range(min(self._params.parallel, len(waiting)))]

    def why(self, node: Node) -> Why:
        """By its last descent."""
        return self._whys[node.number]

    def _descend(self, tree: Tree, open_: dict[int, list[Node]], visits: Counter[int], means: dict[int, float]) -> Node:
        node, bound, siblings = tree.root, 0.0, 0
        visits[0] += 1
        while children := open_.get(node.number):
            above = 2 * math.log(visits[node.number])
            weight = self._params.exploration
            bounds = [means[child.number] + weight * math.sqrt(above / visits[child.number]) for child in children]
            bound, siblings = max(bounds), len(children)
            node = children[bounds.index(bound)]
            visits[node.number] += 1
        chosen = node
        terms = {"bound": bound, "mean": means[node.number], "visits": visits[node.number], "siblings": siblings}
        self._whys[chosen.number] = because("uct.bound", **terms)
        # It waits no longer, and what led to nothing else is closed.
        while node.number and not open_.get(node.number):
            open_[node.parent].remove(node)
            node = tree.nodes[node.parent]
        return chosen
