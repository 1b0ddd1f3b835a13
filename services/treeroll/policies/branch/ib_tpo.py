"""IB-TPO: rollouts, then rounds of new ones from the nodes with the best information-bottleneck score."""

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydantic import Field

from treeroll.policies.branch.settled import Settled, SettledParams
from treeroll.policies.branch.success import SuccessRates
from treeroll.policies.branch.value import Confidence
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT, LeafCount, within_leaves
from treeroll.tree.node import BranchReason, Decision, Node
from treeroll.tree.tree import Tree
from treeroll.why import Why, because


class IBTPO:
    """B0 rollouts run to their ends; then, L - 1 times, B new ones start at each of the K nodes with the best score.

    J(n) = (1 + beta) / |C| * sum over the children c of n of (p(c) / p(n) - (1 + 1/beta)) * pi(c). p is the success
    rate of the leaves below a node, pi the model's probability of the step. Scores are taken anew in every round. In
    all B0 + (L - 1) * K * B leaves; the paper's (B0, L, K, B) = (4, 9, 1, 1) give 12. Nothing is pruned.

    A round reads rewards of finished paths, so it is retrospective: path weights of later rollouts are 0, and the B0
    first ones alone estimate the policy's mean reward.

    Ours: success is a reward of `success` or more; below a node without success the ratio is 1, as nothing changes
    there; pi is exp of the mean log probability of the segment's tokens, since the source does not say whether to
    normalise by length, and a plain product vanishes; a step is a segment of whatever segment policy the run has; the
    prompt may be chosen too, and is while no leaf has a reward; nodes without a rewarded leaf are not chosen; ties go
    to the first node in path order; `settled_after` leaves settled subtrees alone, and the tree ends if all are. No
    code was released, and the rule was read in a secondary source.
    """

    name: ClassVar[str] = "ib_tpo"
    summary: ClassVar[str] = "rollouts, then rounds of new ones where confidence and success go together"
    paper: ClassVar[str] = "IB-TPO, arXiv 2605.28109"
    explains: ClassVar[Mapping[str, str]] = {
        "ib_tpo.score": "its score J of {score} is number {rank} of {scored} scored nodes in round {round}",
        "ib_tpo.prompt": "no node has a score, so round {round} begins at the prompt",
    }
    needs: ClassVar[Needs] = Needs(rewards=True)

    class Params(SettledParams):
        """How many rollouts, from how many nodes."""

        initial: int = Field(4, ge=1, le=MAX_FANOUT, description="B0, rollouts from the prompt")
        rounds: int = Field(9, ge=1, le=MAX_FANOUT, description="L, rounds, the first one included")
        nodes: int = Field(1, ge=1, le=MAX_FANOUT, description="K, nodes chosen in a round")
        forks: int = Field(1, ge=1, le=MAX_FANOUT, description="B, rollouts started at each")
        beta: float = Field(5.0, gt=0, le=1e6, description="success ratio that counts as a gain is 1 + 1/beta")
        success: float = Field(0.5, ge=-1e6, le=1e6, description="smallest reward that is a success")

    def __init__(self, params: Params, limits: Limits) -> None:
        self.leaf_count = LeafCount(
            "initial + (rounds - 1) * nodes * forks",
            lambda initial, rounds, nodes, forks: initial + (rounds - 1) * nodes * forks,
            {"initial": params.initial, "rounds": params.rounds, "nodes": params.nodes, "forks": params.forks},
        )
        self.max_leaves = within_leaves(self.name, self.leaf_count, limits)
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return IBTPOGrowth(self._params)


class IBTPOGrowth:
    """Lets rollouts run on, and scores nodes when all have ended."""

    def __init__(self, params: IBTPO.Params) -> None:
        self._params = params
        self._round = 1
        self._rates = SuccessRates(params.success)
        self._confidence = Confidence()
        self._settled = Settled(params, self._rates)
        self._children: dict[int, list[Node]] = defaultdict(list)
        self._scores: dict[int, tuple[float, tuple[int, ...]]] = {}  # node -> (-J, path): the smallest is best

    def start(self, tree: Tree) -> list[Expansion]:
        """The first rollouts."""
        return [Expansion(tree.root.number, self._params.initial, BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Nothing to decide."""
        self._children[node.parent].append(node)
        return []

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """The next round, if there is one: every path has ended and has its reward."""
        if self._round == self._params.rounds:
            return []
        self._round += 1
        # A node's score follows from its own rate and its children's, which lie on the same paths.
        for number in self._rates.update(tree):
            if number in self._children:
                self._scores[number] = -self._score(tree.nodes[number]), tree.path(number)
        return [
            Expansion(number, self._params.forks, BranchReason.FORK, Decision.RETROSPECTIVE, resume=False, why=why)
            for number, why in self._reasoned(self._best(tree))
        ]

    def _reasoned(self, best: list[int]) -> Iterator[tuple[int, Why]]:
        for rank, number in enumerate(best, 1):
            if number in self._scores:
                score, scored = -self._scores[number][0], len(self._scores)
                yield number, because("ib_tpo.score", round=self._round, score=score, rank=rank, scored=scored)
            else:
                yield number, because("ib_tpo.prompt", round=self._round)

    def _best(self, tree: Tree) -> list[int]:
        """The nodes to start from, best first; the prompt while no node has been scored."""
        if not self._scores:
            return [0]
        if not self._settled.possible:
            return heapq.nsmallest(self._params.nodes, self._scores, key=self._scores.__getitem__)
        ranked = sorted(self._scores, key=self._scores.__getitem__)
        open_ = (number for number in ranked if not self._settled.above(tree, tree.nodes[number]))
        return list(itertools.islice(open_, self._params.nodes))

    def _score(self, node: Node) -> float:
        """J of a node with a scored leaf below it."""
        here = self._rates.of(node) or 0.0
        gains = []
        for child in sorted(self._children[node.number], key=lambda child: child.sibling_index):
            if (rate := self._rates.of(child)) is not None:
                ratio = rate / here if here > 0 else 1.0
                gains.append((ratio - (1 + 1 / self._params.beta)) * self._confidence.of(child))
        return (1 + self._params.beta) * math.fsum(gains) / len(gains)
