"""Hard tasks to the large model, as far as the budget goes."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, model_validator

from treeroll.policies.predict import registry as predictors
from treeroll.policies.predict.params import PredictorParams
from treeroll.policy.allocate import BudgetView, Outcome, TaskView
from treeroll.policy.base import Limits
from treeroll.policy.memory import Parts
from treeroll.policy.route import ModelView, Routing


class Threshold:
    """A task goes to `large` if the small model's predicted success rate is below `below`; all others go to `small`.

    The hard-budget mask of budget-aware routing goes before the threshold: a model whose tree is expected to take more
    than is left of the run's tokens, or of `large_tokens`, is not chosen if the other one's is not. If both are, the
    task goes to `small`.

    The rate is of the small model: what the large one's trees came to counts neither as history nor for the predictor.
    Tasks without a rate go to `small`. So a task that was sent to `large` keeps its rate; with a `prior` above 0 the
    rate goes back to 1/2 as epochs pass (`history_decay`), and the small model is tried again.

    Of ODAR (a threshold on a difficulty estimate), SCALE (thinking mode above a difficulty of 0.5, in its example) and
    budget-aware agentic routing (the mask; easy tasks to the small model) these rules are all that is taken. Ours: the
    estimate is a success rate; trees are routed, not answers or steps; cost is tokens, whatever a model's price, so
    `large_tokens` is there to say what may go to the dear one.
    """

    name: ClassVar[str] = "threshold"
    summary: ClassVar[str] = "tasks that the small model is expected to fail go to the large one, within the budget"
    paper: ClassVar[str] = (
        "Budget-aware agentic routing, arXiv 2602.21227; ODAR, arXiv 2602.23681; SCALE, arXiv 2512.00466"
    )

    class Params(PredictorParams):
        """Two models, and where the line is."""

        small: str = Field("small", min_length=1, description="the model that tasks go to unless they are hard")
        large: str = Field("large", min_length=1, description="the model that hard tasks go to")
        below: float = Field(0.5, ge=0, le=1, description="predicted success rate below which a task is hard")
        large_tokens: int | None = Field(
            None,
            ge=1,
            le=2**62,
            description="most tokens that the large model's trees may be expected to take; none: no cap",
        )

        @model_validator(mode="after")
        def _two_models(self) -> "Threshold.Params":
            if self.small == self.large:
                raise ValueError(f"small and large are both '{self.small}'; name two models")
            return self

    def __init__(self, params: Params, limits: Limits) -> None:
        self.params = params
        self.models = (params.small, params.large)
        self.rated: str | None = params.small
        self.success: float | None = params.success

    def open(self, seed: int) -> Routing:
        """A fresh memory for a run."""
        return ThresholdRouting(self.params)


class ThresholdRouting:
    """What the predictor has learned of the small model."""

    def __init__(self, params: Threshold.Params) -> None:
        self._params = params
        self._predictor = predictors.build(params.predictor, params.prior)

    def route(self, task: TaskView, budget: BudgetView, models: Mapping[str, ModelView]) -> str:
        """The model that the threshold wants, unless only the other one fits the budget."""
        params = self._params
        rate = self._predictor.of(task)
        wanted, other = params.small, params.large
        if rate is not None and rate < params.below:
            wanted, other = other, wanted
        if self._fits(wanted, budget, models):
            return wanted
        return other if self._fits(other, budget, models) else params.small

    def learn(self, task: TaskView, outcome: Outcome, model: str) -> None:
        """Tell the predictor of the small model's trees."""
        if model == self._params.small:
            self._predictor.learn(task, outcome.successes, outcome.scored)

    def changes(self) -> Parts:
        """Those of the predictor."""
        return self._predictor.changes()

    def restore(self, parts: Parts) -> None:
        """Give the predictor its own."""
        self._predictor.restore(parts)

    def _fits(self, name: str, budget: BudgetView, models: Mapping[str, ModelView]) -> bool:
        model, cap = models[name], self._params.large_tokens
        if budget.tokens_left is not None and model.tokens_per_tree > budget.tokens_left:
            return False
        return name == self._params.small or cap is None or model.tokens + model.tokens_per_tree <= cap
