"""Every success predictor, by name. The only place that knows them all."""

from typing import Literal

from treeroll.policies.predict.base import SuccessPredictor
from treeroll.policies.predict.history import History

PredictorName = Literal["history"]


def build(name: PredictorName, prior: float) -> SuccessPredictor:
    """A predictor for one run that has learned nothing yet. `prior` is History's."""
    return History(prior)
