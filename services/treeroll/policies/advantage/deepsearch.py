"""DeepSearch's advantages: outcomes backed up with decay, squashed, relative to the leaves."""

import math
from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.advantage.moments import deviation, mean
from treeroll.policies.advantage.scored_tree import ScoredTree
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits

EPSILON = 1e-6


class DeepSearchAdvantage:
    """A(n) = x(n) - mean z: x is tanh(v(n) / T) x C for an inner node, v for the path's leaf.

    z is 1 for a correct leaf and -1 for any other. v(n) sums g z over the leaves below n, g = (depth of n + 1) /
    (depth of the leaf + 1), but at least `smallest_share`; where one of them is correct, only the correct ones count,
    because in the release a correct outcome overwrites wrong ones and a wrong one never takes from a positive value.
    The mean is over the leaves. Temperature T and ceiling C are 1 by default. `scale=std` divides by the leaves'
    population deviation + 1e-6: the release's code has it, and both of its training scripts switch it off, because it
    gives tasks that hardly ever succeed, or fail, a weight above that of others.

    Ours: correct is a reward of `success` or more; every scored leaf is backed up, where the release's search backs up
    one per expansion; leaves that agree have no credit. The release's penalty for overlong answers is the scorer's to
    give.
    """

    name: ClassVar[str] = "deepsearch"
    summary: ClassVar[str] = "decayed sum of outcomes below every node, squashed, against the leaves' mean"
    paper: ClassVar[str] = "DeepSearch, arXiv 2509.25454"

    class Params(base.Params):
        """How outcomes are backed up."""

        success: float = Field(0.5, ge=-1e6, le=1e6, description="smallest reward that is correct")
        smallest_share: float = Field(0.1, ge=0, le=1, description="least share of an outcome that reaches a node")
        temperature: float = Field(1.0, gt=0, le=1e6, description="divides an inner node's value before tanh (T)")
        ceiling: float = Field(1.0, gt=0, le=1e6, description="multiplies it after tanh (C)")
        scale: Literal["none", "std"] = Field("none", description="deviation of the leaves to divide by")

    def __init__(self, params: Params, limits: Limits) -> None:
        self._params = params

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        scored = ScoredTree(tree)
        values = self._backed_up(tree, scored)
        leaves = [values[leaf] for leaf in tree.rewards]
        center, spread = mean(leaves), deviation(leaves)
        if spread == 0.0:
            return scored.along_paths(dict.fromkeys(scored.parents, 0.0))
        scale = 1.0 if self._params.scale == "none" else spread + EPSILON
        squashed = {node: self._params.ceiling * math.tanh(v / self._params.temperature) for node, v in values.items()}
        credit = {}
        for leaf in tree.rewards:
            found = [squashed[node] for node in tree.paths[leaf][:-1]] + [values[leaf]]
            credit[leaf] = tuple([(value - center) / scale for value in found])
        return credit

    def _backed_up(self, tree: CreditTree, scored: ScoredTree) -> dict[int, float]:
        shares: dict[int, tuple[list[float], list[float]]] = {node: ([], []) for node in scored.parents}
        for leaf, reward in tree.rewards.items():
            path, wrong = tree.paths[leaf], reward < self._params.success
            for depth, node in enumerate(path, 1):
                share = max((depth + 1) / (len(path) + 1), self._params.smallest_share)
                shares[node][wrong].append(share)
        return {node: math.fsum(right) if right else -math.fsum(wrong) for node, (right, wrong) in shares.items()}
