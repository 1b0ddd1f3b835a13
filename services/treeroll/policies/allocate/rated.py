"""What allocators have in common that go by the success rates of tasks."""

from typing import ClassVar, Final

from pydantic import Field

from treeroll.errors import InvalidInput
from treeroll.policies.predict import registry as predictors
from treeroll.policies.predict.params import PredictorParams, SuccessParams
from treeroll.policy.allocate import Outcome, TaskView
from treeroll.policy.base import Limits
from treeroll.policy.memory import Parts

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


class HistoryAllocator:
    """What the parameters say, with the run's `leaves`, the mean of its tasks.

    Raises:
        InvalidInput: `leaves` are not between `least` and `most`.
    """

    name: ClassVar[str]

    def __init__(self, params: HistoryParams, limits: Limits) -> None:
        self.least, self.most = _bounds(self.name, params, limits)
        self.success: float | None = params.success
        self.leaves = limits.leaves
        self.prior = params.prior


class RatedAllocator(HistoryAllocator):
    """The predictor and its settings."""

    def __init__(self, params: RatedParams, limits: Limits) -> None:
        super().__init__(params, limits)
        self.predictor = params.predictor


class RatedAllocation:
    """What the predictor has learned in a run."""

    def __init__(self, policy: RatedAllocator) -> None:
        self._predictor = predictors.build(policy.predictor, policy.prior)

    def learn(self, task: TaskView, outcome: Outcome) -> None:
        """Tell the predictor."""
        self._predictor.learn(task, outcome.successes, outcome.scored)

    def changes(self) -> Parts:
        """Those of the predictor."""
        return self._predictor.changes()

    def restore(self, parts: Parts) -> None:
        """Give the predictor its own."""
        self._predictor.restore(parts)


def _bounds(policy: str, params: HistoryParams, limits: Limits) -> tuple[int, int]:
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
