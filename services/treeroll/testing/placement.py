"""Placement policies: which queue a branch waits in."""

from collections.abc import Mapping
from itertools import product
from typing import Any, Final

from treeroll.policy.base import Limits
from treeroll.testing.case import LIMITS, Case

FLEETS: Final[tuple[list[str], ...]] = ([], ["r0"], ["r0", "r1", "r2"])


def check_placement_policy(policy: Any, params: Mapping[str, object] | None = None, limits: Limits = LIMITS) -> None:
    """Try a placement policy class.

    Checked: its shape; a home is a replica that is ready, or None; it depends on its arguments only, and leaves the
    list of replicas alone.

    Raises:
        NotConformant: a promise is broken.
    """
    case = Case.of("placement", policy, params, limits)
    used = case.build()
    margin = used.steal_margin
    case.require(margin is None or margin >= 0, "Shape", f"has steal_margin {margin!r}; it must be None or >= 0")
    for replicas, turn in product(FLEETS, range(5)):
        for parent in ("", *replicas):
            shown = list(replicas)
            home = used.home(parent, shown, turn)
            case.require(shown == replicas, "ReadsOnly", "changes the list of replicas")
            case.require(home is None or home in replicas, "Home", f"chooses {home!r} of the replicas {replicas}")
            again = case.build().home(parent, list(replicas), turn)
            case.require(home == again, "Pure", f"chooses {home!r} and {again!r} for the same branch")
