"""IB-TPO's step advantages: success against the prompt's, plus an information-bottleneck term."""

import math
from typing import ClassVar

from pydantic import Field

from treeroll.policies.advantage.moments import deviation
from treeroll.policies.advantage.scored_tree import ScoredTree
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits


class IBTPOAdvantage:
    """A(n) = (p(n) - p(root)) / std R + lambda * (p(n) / p(parent) - (1 + 1/beta)) * pi(n).

    p is the success rate of the scored leaves at or below a node, std the population deviation of success over the
    tree, pi the probability of the step. The second term rewards steps that raise success, more so where the model was
    confident. Defaults lambda 0.1 and beta 5 are the paper's; no code was released, and it was read in a secondary
    source.

    Ours: success is a reward of `success` or more; below a parent without success the ratio is 1, as nothing changes
    there; a tree whose leaves agree has no credit; a step is a segment; and pi is exp of the mean log probability of
    the segment's tokens under the policy that sampled it, since the source names a reference policy, which no engine
    here serves, and does not say whether to normalise by length.
    """

    name: ClassVar[str] = "ib_tpo"
    summary: ClassVar[str] = "success of every node against the prompt's, and against its parent's by confidence"
    paper: ClassVar[str] = "IB-TPO, arXiv 2605.28109"

    class Params(base.Params):
        """Weights of the information term, and what success is."""

        ib_weight: float = Field(0.1, ge=0, le=10, description="weight of the information term (lambda)")
        beta: float = Field(5.0, gt=0, le=1e6, description="success ratio that counts as a gain is 1 + 1/beta")
        success: float = Field(0.5, ge=-1e6, le=1e6, description="smallest reward that is a success")

    def __init__(self, params: Params, limits: Limits) -> None:
        self._params = params

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        scored = ScoredTree(tree)
        outcomes = {leaf: float(reward >= self._params.success) for leaf, reward in tree.rewards.items()}
        spread = deviation(list(outcomes.values()))
        if spread == 0.0:
            return scored.along_paths(dict.fromkeys(scored.parents, 0.0))
        rates = scored.leaf_means(outcomes)
        credit = {}
        for node, parent in scored.parents.items():
            information = self._information(rates[node], rates[parent]) * _probability(tree, node)
            credit[node] = (rates[node] - rates[0]) / spread + self._params.ib_weight * information
        return scored.along_paths(credit)

    def _information(self, rate: float, before: float) -> float:
        ratio = rate / before if before > 0 else 1.0
        return ratio - (1 + 1 / self._params.beta)


def _probability(tree: CreditTree, node: int) -> float:
    """The geometric mean of the probabilities of the node's tokens."""
    return math.exp(tree.logprob_sums[node] / max(tree.n_tokens[node], 1))
