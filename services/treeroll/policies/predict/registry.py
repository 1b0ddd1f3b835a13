"""Every success predictor, by name. The only place that knows them all."""

from typing import Literal

from treeroll.policies.predict.base import SuccessPredictor
from treeroll.policies.predict.history import History
from treeroll.policies.predict.prompt import Prompt

PredictorName = Literal["history", "prompt"]


def build(name: PredictorName, prior: float) -> SuccessPredictor:
    """A predictor for one run that has learned nothing yet. `prior` is History's."""
    return Prompt() if name == "prompt" else History(prior)


def summaries() -> dict[str, str]:
    """Name and one-line summary of every predictor, for people."""
    return {predictor.name: predictor.summary for predictor in (History, Prompt)}
