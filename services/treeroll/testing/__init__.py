"""Whether a policy keeps the promises that the core relies on: for our tests, and for those of whoever writes a policy.

    from treeroll.testing import check_branch_policy

    def test_my_policy_conforms():
        check_branch_policy(MyPolicy, {"pace": 3})

Each check takes a policy class, parameters and the limits of a run, and raises NotConformant with the promise that was
broken. Branch policies grow trees with the real core, in simulated worlds. Nothing is drawn at random: a check that
passes passes always.
"""

from collections.abc import Callable
from typing import Final

from treeroll.testing.advantage import check_advantage_estimator
from treeroll.testing.allocate import check_allocator
from treeroll.testing.branch import check_branch_policy
from treeroll.testing.case import LIMITS, NotConformant
from treeroll.testing.placement import check_placement_policy
from treeroll.testing.prune import check_prune_policy
from treeroll.testing.route import check_route_policy
from treeroll.testing.segment import check_segment_policy

CHECKS: Final[dict[str, Callable[..., None]]] = {
    "segment": check_segment_policy,
    "branch": check_branch_policy,
    "prune": check_prune_policy,
    "advantage": check_advantage_estimator,
    "placement": check_placement_policy,
    "allocate": check_allocator,
    "route": check_route_policy,
}
"""The check of each kind of policy; all take (policy, params, limits)."""

__all__ = [
    "CHECKS",
    "LIMITS",
    "NotConformant",
    "check_advantage_estimator",
    "check_allocator",
    "check_branch_policy",
    "check_placement_policy",
    "check_prune_policy",
    "check_route_policy",
    "check_segment_policy",
]
