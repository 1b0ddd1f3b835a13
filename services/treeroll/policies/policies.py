"""The policies that decide about the trees of one run."""

from dataclasses import dataclass

from treeroll.policy.base import AdvantageEstimator, BranchPolicy, PrunePolicy, SegmentPolicy


@dataclass(frozen=True, slots=True)
class Policies:
    """One of each kind that a recipe names."""

    segment: SegmentPolicy
    branch: BranchPolicy
    prune: PrunePolicy
    advantage: AdvantageEstimator
