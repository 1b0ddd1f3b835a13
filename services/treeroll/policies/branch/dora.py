"""DORA: a level's width is shared out by direction, not by path: what many paths say counts once."""

import math
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from treeroll.core.apportion import apportion, softmax
from treeroll.core.tree import Node, Tree
from treeroll.policies.base import Limits
from treeroll.policies.branch.level import LevelParams, LevelPolicy
from treeroll.policies.branch.rebase import BySoftmax
from treeroll.policies.embed import registry as embedders
from treeroll.policies.embed.base import Embedder
from treeroll.policies.embed.pairs import similar, units

# exp(-37) is below the last bit of 1: pairs further apart than so many T_s do not add to a sum that begins with 1.
VANISHES = 37


class Dora(LevelPolicy):
    """As `rebase`, with the weight of a path divided by how many paths go its way.

    w_i = exp(R_i / T_b) / sum_j exp(R_j / T_b) is a path's quality; e_i the vector of its whole solution so far, S_ij
    the cosine of two. gamma_i = exp(S_ii / T_s) / sum_j exp(S_ij / T_s), about one over the size of its cluster. The
    path becomes a share w_i gamma_i / sum_j w_j gamma_j of the width. Near copies of a path thus share what one of them
    would get; nothing is a cluster or is none, and T_s says how near a copy must be.

    Decisions and leaves are as `rebase`'s, and so are the exact shares.

    From the paper's equations; its released code first drops paths as REBASE would, and cannot run as published. Ours:
    the embedder, which compares wording, where the paper has a model of meaning (BGE-M3): its distances are others, so
    T_s may want another value. Without an embedder (null) this is `rebase`; while no score is known, shares are equal.
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
        allocation = ByDirection(params.temperature, params.similarity_temperature, embedder)
        super().__init__(params, limits, allocation, reads_text=embedder is not None)


class ByDirection:
    """DORA's shares; REBASE's without an embedder."""

    def __init__(self, temperature: float, similarity_temperature: float, embedder: Embedder | None) -> None:
        self._temperature = temperature
        self._similarity_temperature = similarity_temperature
        self._embedder = embedder

    def shares(self, tree: Tree, waiting: Sequence[Node], scores: Sequence[float], width: int) -> list[int]:
        """Sums to `width`."""
        if self._embedder is None:
            return BySoftmax(self._temperature).shares(tree, waiting, scores, width)
        texts = [tree.completion_text(node.number) for node in waiting]
        gammas = uniqueness(texts, self._embedder, self._similarity_temperature)
        weights = softmax(scores, self._temperature)
        return apportion(width, [weight * gamma for weight, gamma in zip(weights, gammas, strict=True)])


def uniqueness(texts: Sequence[str], embedder: Embedder, temperature: float) -> list[float]:
    """gamma of each text: 1 if no other is like it, 1 / k for k equal ones."""
    copies: dict[str, int] = {}
    for text in texts:
        copies[text] = copies.get(text, 0) + 1
    crowd = {text: float(count) for text, count in copies.items()}
    different = list(copies)
    vectors = units([embedder.embed(text) for text in different])
    for i, j, cosine in similar(vectors, 1 - VANISHES * temperature):
        one, other = different[i], different[j]
        near = math.exp((cosine - 1) / temperature)
        crowd[one] += near * copies[other]
        crowd[other] += near * copies[one]
    return [1 / crowd[text] for text in texts]
