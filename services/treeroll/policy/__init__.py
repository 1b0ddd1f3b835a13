"""The door: what a policy is, by kind, and the records that policies and the core exchange.

Stability: what is listed here is public. A policy of another distribution may import it, and a change to it is named
in CHANGELOG.md; whatever else the modules hold may change without notice.
"""

from treeroll.policy.allocate import Allocation, BudgetAllocator, BudgetView, Need, Outcome, TaskView
from treeroll.policy.base import (
    MAX_TEMPERATURE_SCALE,
    AdvantageEstimator,
    BranchPolicy,
    CreditTree,
    Delimiter,
    Ended,
    Expansion,
    Growth,
    HasTimeout,
    Limits,
    Params,
    PlacementPolicy,
    PrunePolicy,
    Segment,
    SegmentPolicy,
    Verdict,
)
from treeroll.policy.needs import Needs
from treeroll.policy.route import ModelView, RoutePolicy, Routing
from treeroll.policy.width import LeafCount, within_leaves
from treeroll.why import Why, because

__all__ = [
    "MAX_TEMPERATURE_SCALE",
    "AdvantageEstimator",
    "Allocation",
    "BranchPolicy",
    "BudgetAllocator",
    "BudgetView",
    "CreditTree",
    "Delimiter",
    "Ended",
    "Expansion",
    "Growth",
    "HasTimeout",
    "LeafCount",
    "Limits",
    "ModelView",
    "Need",
    "Needs",
    "Outcome",
    "Params",
    "PlacementPolicy",
    "PrunePolicy",
    "RoutePolicy",
    "Routing",
    "Segment",
    "SegmentPolicy",
    "TaskView",
    "Verdict",
    "Why",
    "because",
    "within_leaves",
]
