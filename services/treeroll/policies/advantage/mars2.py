"""MARS2's advantages: rewards shaped by the tree, then relative to all candidates of the task."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from treeroll.policies.advantage.moments import deviation, mean, others_gap
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits

EPSILON = 1e-9


class MARS2Advantage:
    """A_v = (s_v - mean s) / (std s + 1e-9) over all candidates v of the tree, s_v = r_v + gamma (r_v - b_v).

    A candidate is a node with a reward of its own: a scored leaf, or an inner node that somebody scored. Its baseline
    b_v is (1 - lambda) times its parent's reward plus lambda times the mean of its siblings'; the parent is the nearest
    candidate above it, siblings have the same one. Without a parent or without siblings the other is taken alone,
    without either s_v is r_v. std is the sample deviation. Defaults gamma and lambda 0.5 are the release's.

    All s come from the rewards as they were (the release edits them in place, so that a child would read its parent's
    shaped reward; and its trees carry no parents, so that nothing is shaped at all). Ours: the segments from one
    candidate to the next belong to the later one and have its advantage, so a segment that two candidates share has a
    different one on each path.
    """

    name: ClassVar[str] = "mars2"
    summary: ClassVar[str] = "reward of every candidate, shaped by parent and siblings, against all candidates"
    paper: ClassVar[str] = "MARS2, arXiv 2604.14564"

    class Params(base.Params):
        """How strongly the tree shapes rewards."""

        gamma: float = Field(0.5, ge=0, le=10, description="weight of the difference to the baseline")
        sibling_share: float = Field(0.5, ge=0, le=1, description="share of siblings in the baseline (lambda)")

    def __init__(self, params: Params, limits: Limits) -> None:
        self._params = params

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        rewards = {**tree.inner_rewards, **tree.rewards}
        shaped = self._shaped(rewards, _parents(tree, rewards))
        values = list(shaped.values())
        center, scale = mean(values), deviation(values, ddof=1) + EPSILON
        normed = {node: (value - center) / scale for node, value in shaped.items()}
        return {leaf: _along(tree.paths[leaf], normed) for leaf in tree.rewards}

    def _shaped(self, rewards: Mapping[int, float], parents: Mapping[int, int]) -> dict[int, float]:
        families: dict[int, list[int]] = {}
        for node, parent in parents.items():
            families.setdefault(parent, []).append(node)
        shaped = {}
        for parent, siblings in families.items():
            gaps = others_gap([rewards[node] for node in siblings])
            for node, gap in zip(siblings, gaps, strict=True):
                advance = rewards[node] - rewards[parent] if parent else None
                shaped[node] = rewards[node] + self._params.gamma * self._gain(advance, gap, len(siblings))
        return shaped

    def _gain(self, advance: float | None, gap: float, siblings: int) -> float:
        """Reward minus baseline: against the parent, the other siblings, or both."""
        if advance is None:
            return gap  # 0 without siblings
        share = self._params.sibling_share if siblings > 1 else 0.0
        return (1 - share) * advance + share * gap


def _parents(tree: CreditTree, rewards: Mapping[int, float]) -> dict[int, int]:
    """Candidate -> nearest candidate above, or 0."""
    parents = {}
    for path in tree.paths.values():
        above = 0
        for node in path:
            if node in rewards:
                parents[node] = above
                above = node
    return parents


def _along(path: tuple[int, ...], normed: Mapping[int, float]) -> tuple[float, ...]:
    """Each node's value is that of the first candidate at or after it."""
    values: list[float] = []
    for node in reversed(path):
        values.append(normed[node] if node in normed else values[-1])
    return tuple(reversed(values))
