"""What allocators have in common that go by the success rates of tasks."""

from typing import Final

from pydantic import Field

from treeroll.errors import InvalidInput
from treeroll.policies.base import Limits
from treeroll.policies.predict.params import PredictorParams, SuccessParams

# Most leaves of one task in Knapsack RL.
MOST: Final = 128
# As `leaves` of a run: more would be a tree that nobody can hold.
MAX_LEAVES: Final = 4096


class HistoryParams(SuccessParams):
    """What a task's history begins with, and how far its leaves may differ from the run's."""

    least: int = Field(2, ge=1, le=MAX_LEAVES, description="fewest leaves of a task")
    most: int | None = Field(
        None, ge=1, le=MAX_LEAVES, description=f"most leaves of a task; none: {MOST}, or the run's leaves if more"
    )


class RatedParams(HistoryParams, PredictorParams):
    """Who says how often a task succeeds."""


def bounds(policy: str, params: HistoryParams, limits: Limits) -> tuple[int, int]:
    """Fewest and most leaves of a task; InvalidInput if the run's `leaves`, the mean, are not between them."""
    most = max(MOST, limits.leaves) if params.most is None else params.most
    if params.least > limits.leaves:
        raise InvalidInput(
            f"allocate policy '{policy}': least {params.least} is above leaves {limits.leaves}, so not every task can "
            "have as many; lower the one or raise the other"
        )
    if most < limits.leaves:
        raise InvalidInput(
            f"allocate policy '{policy}': most {most} is below leaves {limits.leaves}, so tasks cannot have that many "
            "on average; raise the one or lower the other"
        )
    return params.least, most
