"""DORA: a level's width is shared out by direction, not by path: what many paths say counts once."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from operator import mul
from typing import ClassVar

from pydantic import Field

from treeroll.policies.branch.level import LevelParams, LevelPolicy
from treeroll.policies.branch.rebase import BySoftmax
from treeroll.policy.base import Limits
from treeroll.similarity import registry as embedders
from treeroll.similarity.embedder import Embedder, Features, cosines
from treeroll.tree.apportion import apportion, softmax
from treeroll.tree.node import Node
from treeroll.tree.tree import Tree


class DORA(LevelPolicy):
    """As `rebase`, with the weight of a path divided by how many paths go its way.

    w_i = exp(R_i / T_b) / sum_j exp(R_j / T_b) is a path's quality; e_i the features of its whole solution so far,
    S_ij the cosine of two. gamma_i = exp(S_ii / T_s) / sum_j exp(S_ij / T_s), about one over the size of its cluster.
    The path becomes a share w_i gamma_i / sum_j w_j gamma_j of the width. Near copies of a path thus share what one of
    them would get; nothing is a cluster or is none, and T_s says how near a copy must be.

    Decisions and leaves are as `rebase`'s, and so are the exact shares.

    From the paper's equations; its released code first drops paths as REBASE would, and cannot run as published. Ours:
    the embedder, which compares wording, where the paper has a model of meaning (BGE-M3): its distances are others, so
    T_s may want another value; and e_i, what any of the path's segments has: each is read once, when it comes, and
    wording across a boundary does not count. Without an embedder (null) this is `rebase`; while no score is known,
    shares are equal.
    """

    name: ClassVar[str] = "dora"
    summary: ClassVar[str] = "a level's paths share the width by score, and near copies of a path share its part"
    paper: ClassVar[str] = "DORA, Every Rollout Counts (paper and code in WangXinglin/DORA)"

    class Params(LevelParams):
        """How sharply scores decide, and what copies are."""

        temperature: float = Field(0.1, gt=0, le=1e6, description="T_b; the smaller, the more goes to the best")
        similarity_temperature: float = Field(0.01, gt=0, le=1e6, description="T_s; the smaller, the nearer are copies")
        embedder: str | None = Field(
            "ngrams", max_length=64, description="what compares paths: see `treeroll policies`"
        )

    def __init__(self, params: Params, limits: Limits) -> None:
        embedder = None if params.embedder is None else embedders.get(params.embedder)
        allocation = partial(ByDirection, params.temperature, params.similarity_temperature, embedder)
        super().__init__(params, limits, allocation, reads_text=embedder is not None)


class ByDirection:
    """DORA's shares; REBASE's without an embedder."""

    def __init__(self, temperature: float, similarity_temperature: float, embedder: Embedder | None) -> None:
        self._temperature = temperature
        self._similarity_temperature = similarity_temperature
        self._embedder = embedder
        # Of whole paths, by node: those that wait, and those that went on at the last decision, until the next.
        self._features: dict[int, Features] = {}

    def arrived(self, tree: Tree, node: Node) -> None:
        """Adds what its text has to what the path had."""
        if self._embedder is not None:
            self._features[node.number] = self._of_path(tree, node.number, self._embedder)

    def shares(self, tree: Tree, waiting: Sequence[Node], scores: Sequence[float], width: int) -> list[int]:
        """Sums to `width`."""
        if self._embedder is None:
            return BySoftmax(self._temperature).shares(tree, waiting, scores, width)
        paths = [self._features[node.number] for node in waiting]
        gammas = uniqueness(paths, self._similarity_temperature)
        weights = softmax(scores, self._temperature)
        return apportion(width, [weight * gamma for weight, gamma in zip(weights, gammas, strict=True)])

    def decided(self, onward: Sequence[int]) -> None:
        """Keeps what paths add to."""
        if self._embedder is not None:
            self._features = {number: self._features[number] for number in onward}

    def _of_path(self, tree: Tree, number: int, embedder: Embedder) -> Features:
        found = 0
        for node in reversed(tree.lineage(number)):
            # Not of a late path's parent, which went on before the last decision.
            if node.number in self._features:
                return found | self._features[node.number]
            found |= embedder.embed(node.text or "")
        return found


def uniqueness(paths: Sequence[Features], temperature: float) -> list[float]:
    """gamma of each path: 1 if no other is like it, 1 / k for k equal ones."""
    copies = Counter(paths)
    counts = list(copies.values())
    crowds = list(map(float, counts))
    for place, row in enumerate(cosines(list(copies))):
        near = [math.exp((cosine - 1) / temperature) for cosine in row]
        after = place + 1
        crowds[place] += sum(map(mul, near, counts[after:]))
        crowds[after:] = [crowd + counts[place] * share for crowd, share in zip(crowds[after:], near, strict=True)]
    crowd = dict(zip(copies, crowds, strict=True))
    return [1 / crowd[path] for path in paths]
