"""ETS: of a level's paths those go on whose scores and variety are worth the KV cache that they keep."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.branch.ets_problem import Problem, closure, greedy
from treeroll.policies.branch.ets_program import IntegerProgram
from treeroll.policies.branch.level import LevelParams, LevelPolicy
from treeroll.policies.branch.rebase import ROUNDING, BySoftmax, Rounding
from treeroll.policy.base import Limits
from treeroll.similarity import registry as embedders
from treeroll.similarity.clusters import average_linkage
from treeroll.similarity.embedder import Embedder, Features
from treeroll.tree.node import Node
from treeroll.tree.tree import Tree


class ETS(LevelPolicy):
    """Before paths share the width as in `rebase`, some are ended, so that what goes on shares more of its prefix.

    Kept are the paths x that are best by sum_i O_i x_i - lambda_b * cost + lambda_d * covered, at least one. O_i is the
    part of the width that `rebase` would give; cost the share, of all nodes from the prompt to waiting paths, of those
    that kept paths need, each counted once; covered the share of clusters with a kept path. Clusters are of the last
    steps: average linkage, cut at cosine distance `distance`. Kept paths share the full width by softmax(R / T), so
    what is saved is cache, not width.

    The choice is exact: by integer program, or in one pass over the tree where coverage does not count (coverage 0, one
    path, all last steps equal). If the solver has searched 100 nodes without an end, a greedy choice is taken, which is
    good but need not be the best; the limit is no clock, so that trees stay the same. Which of equally good choices is
    taken is the solver's business, and always the same for one version of it.

    Decisions and leaves are as `rebase`'s, and so is `rounding`, of O_i and of what kept paths get.

    Ours: the embedder, which compares wording, where the source has a language model of mathematics: its distances are
    others. price 0 counts for nothing; the source puts a tiny reward on nodes then. `cost` tokens weighs nodes by their
    tokens, which the source left for later. Without an embedder (null) and coverage above 0 this becomes `dora`, and
    that `rebase`; while no score is known, shares are equal.
    """

    name: ClassVar[str] = "ets"
    summary: ClassVar[str] = "a level's paths share the width once those are ended that are not worth their cache"
    paper: ClassVar[str] = "ETS, arXiv 2502.13575"

    class Params(LevelParams):
        """What paths are worth, and what they cost."""

        temperature: float = Field(0.2, gt=0, le=1e6, description="T; the smaller, the more goes to the best")
        price: float = Field(1.0, ge=0, le=1e6, description="lambda_b, what all nodes together cost")
        coverage: float = Field(1.5, ge=0, le=1e6, description="lambda_d, what all clusters together are worth")
        distance: float = Field(0.05, ge=0, lt=1, description="cosine distance up to which clusters are merged")
        rounding: Rounding = Field("exact", description=ROUNDING)
        cost: Literal["nodes", "tokens"] = Field("nodes", description="whether nodes cost the same, or by their tokens")
        embedder: str | None = Field(
            "ngrams", max_length=64, description="what compares steps: see `treeroll policies`"
        )

    def __init__(self, params: Params, limits: Limits) -> None:
        embedder = embedders.get(params.embedder) if params.embedder is not None and params.coverage else None
        if params.coverage and embedder is None:
            # DORA without its embedder is REBASE.
            super().__init__(params, limits, partial(BySoftmax, params.temperature, params.rounding))
        else:
            program = None if embedder is None else IntegerProgram()
            allocation = partial(ByWorth, params, embedder, program)
            super().__init__(params, limits, allocation, reads_text=embedder is not None)


class ByWorth:
    """ETS's shares. No embedder and no program: coverage does not count."""

    def __init__(self, params: ETS.Params, embedder: Embedder | None, program: IntegerProgram | None) -> None:
        self._params = params
        self._embedder = embedder
        self._by_softmax = BySoftmax(params.temperature, params.rounding)
        self._program = program
        self._steps: dict[int, Features] = {}  # waiting node -> what its text has

    def arrived(self, tree: Tree, node: Node) -> None:
        """Reads its text."""
        if self._embedder is not None:
            self._steps[node.number] = self._embedder.embed(node.text or "")

    def shares(self, tree: Tree, waiting: Sequence[Node], scores: Sequence[float], width: int) -> list[int]:
        """Sums to `width`; 0 for paths that are not kept."""
        wanted = self._by_softmax.shares(tree, waiting, scores, width)
        kept = self._kept(self._problem(tree, waiting, [share / width for share in wanted]))
        shares = [0] * len(waiting)
        kept_scores = [scores[path] for path in kept]
        for path, share in zip(kept, self._by_softmax.shares(tree, [], kept_scores, width), strict=True):
            shares[path] = share
        return shares

    def decided(self, onward: Sequence[int]) -> None:
        """What goes on has another last step next time."""
        self._steps.clear()

    def _kept(self, problem: Problem) -> list[int]:
        if self._program is None or not problem.clusters:
            return closure(problem)
        kept = self._program.solve(problem)
        return greedy(problem) if kept is None else kept

    def _problem(self, tree: Tree, waiting: Sequence[Node], shares: Sequence[float]) -> Problem:
        number = {0: 0}  # of nodes of the tree, in the problem
        nodes, parents, leaves = [tree.root], [0], []
        for leaf in waiting:
            for node in tree.lineage(leaf.number):
                if node.number not in number:
                    number[node.number] = len(nodes)
                    parents.append(number[node.parent])
                    nodes.append(node)
            leaves.append(number[leaf.number])
        weights = [node.n_tokens if self._params.cost == "tokens" else 1 for node in nodes]
        whole = sum(weights)
        clusters = self._clusters([self._steps[leaf.number] for leaf in waiting]) if self._steps else []
        costs = [weight / whole for weight in weights]
        return Problem(parents, costs, leaves, shares, self._params.price, clusters, self._params.coverage)

    def _clusters(self, steps: Sequence[Features]) -> list[int]:
        """A label for each last step; none where there is nothing to tell apart."""
        sizes = Counter(steps)
        if len(sizes) == 1:
            return []
        labels = average_linkage(list(sizes), list(sizes.values()), self._params.distance)
        label = dict(zip(sizes, labels, strict=True))
        return [label[step] for step in steps]
