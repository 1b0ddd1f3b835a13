"""The promise every branch policy makes: no tree has more leaves than the run asked for."""

from treeroll.errors import InvalidInput
from treeroll.policy.base import Limits

# Far above any fan-out in use; keeps one decision's work small.
MAX_FANOUT = 1024
# Larger counts are not spelt out in messages.
MANY = 10**9


def within_leaves(policy: str, settings: str, made: int, limits: Limits) -> int:
    """`made`, the most leaves a policy's `settings` can make, if the run's `leaves` allow it; InvalidInput if not."""
    if made > limits.leaves:
        count = f"{made}" if made <= MANY else f"more than {MANY}"
        raise InvalidInput(
            f"branch policy '{policy}': {settings} can make {count} leaves, above leaves {limits.leaves}; "
            "lower the one or raise the other"
        )
    return made
