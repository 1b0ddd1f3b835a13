"""HBPO's advantages: rewards by length and budget, against the task and against what the budget could have brought."""

import math
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from treeroll.errors import InvalidInput
from treeroll.policies.advantage.moments import deviation, mean
from treeroll.policies.advantage.scored_tree import on_whole_paths
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits

EPSILON = 1e-6


class HBPOAdvantage:
    """A_i = (R_i - mean R) / (std R + 1e-6) + (mean of R over the leaves of the same budget b - f(b)).

    The same for each node of a path. A correct leaf of n sampled tokens has R = min(f(n) - d |n - b| / L, f(b)), where
    f(x) = s cos(pi x / 2L); any other, and one longer than L, has R = 0. s is 4 and d is 1, the release's, as is L of
    4,096, by default the longest path that the run allows. std is the sample deviation. A leaf's budget is its group,
    as growth `hbpo` sets it. The second term holds back a whole sub-group by what it missed of f(b), so it stands where
    all leaves agree, too.

    From the paper's source and the release, which adds the second term twice, and takes it from the sample before where
    a task has one sample only. The paper has R = f(b) for every correct leaf within its budget; the minimum is the
    release's, and lower for leaves much shorter than a small budget. Ours: correct is a reward of `success` or more; an
    answer without the right form has 0 as any wrong one (-1 in the release); n counts what the model wrote, not what it
    was told. A leaf without a budget has R = f(n), as in the release, and no second term.
    """

    name: ClassVar[str] = "hbpo"
    summary: ClassVar[str] = "GRPO over rewards by length and token budget, plus the budget's mean against its best"
    paper: ClassVar[str] = "HBPO, arXiv 2507.15844"

    class Params(base.Params):
        """How length counts."""

        success: float = Field(0.5, ge=-1e6, le=1e6, description="smallest reward that is correct")
        scale: float = Field(4.0, gt=0, le=1e6, description="reward of a correct leaf without length (s, beta)")
        deviation: float = Field(
            1.0, ge=0, le=1e6, description="what missing a budget by max_length costs (d, alpha L)"
        )
        max_length: int | None = Field(None, ge=1, description="length whose reward is 0 (L); none: max_tokens")

    def __init__(self, params: Params, limits: Limits) -> None:
        self._params = params
        self._longest = params.max_length or limits.max_tokens
        if self._longest < limits.max_tokens:
            raise InvalidInput(
                f"advantage policy 'hbpo': max_length {self._longest} is below max_tokens {limits.max_tokens}, so "
                "longer paths would count as wrong; raise the one or lower the other"
            )

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        rewards = {leaf: self._reward(tree, leaf) for leaf in tree.rewards}
        listed = list(rewards.values())
        center, scale = mean(listed), deviation(listed, ddof=1) + EPSILON
        missed = self._missed(tree, rewards)
        return on_whole_paths(
            tree,
            {leaf: (reward - center) / scale + missed[tree.groups.get(leaf, 0)] for leaf, reward in rewards.items()},
        )

    def _reward(self, tree: CreditTree, leaf: int) -> float:
        length = sum([tree.n_tokens[node] for node in tree.paths[leaf]])
        if tree.rewards[leaf] < self._params.success or length > self._longest:
            return 0.0
        budget = tree.groups.get(leaf, 0)
        if not budget:
            return self._best(length)
        penalty = self._params.deviation * abs(length - budget) / self._longest
        return min(self._best(length) - penalty, self._best(budget))

    def _best(self, length: int) -> float:
        """Reward of a correct leaf of a length that is exactly its budget."""
        return self._params.scale * math.cos(math.pi * length / (2 * self._longest))

    def _missed(self, tree: CreditTree, rewards: Mapping[int, float]) -> dict[int, float]:
        """Per budget, the mean of its leaves minus the best they could have; 0 for leaves without a budget."""
        groups: dict[int, list[float]] = {}
        for leaf, reward in rewards.items():
            groups.setdefault(tree.groups.get(leaf, 0), []).append(reward)
        return {budget: mean(values) - self._best(budget) if budget else 0.0 for budget, values in groups.items()}
