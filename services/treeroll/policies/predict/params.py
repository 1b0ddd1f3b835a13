"""Parameters of whoever goes by the success rates of tasks."""

from pydantic import Field

from treeroll.policies.predict.registry import PredictorName
from treeroll.policy import base


class SuccessParams(base.Params):
    """What success is, and what a task's history begins with."""

    prior: float = Field(
        0.0, ge=0, le=1000, description="successes, and as many failures, that a task's history begins with"
    )
    success: float = Field(0.5, allow_inf_nan=False, description="smallest reward of a leaf that succeeded")


class PredictorParams(SuccessParams):
    """Who says how likely a task succeeds."""

    predictor: PredictorName = Field("history", description="who says how likely a task's leaves succeed")
