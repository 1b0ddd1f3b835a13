"""Equal text."""

from treeroll.boxed import last_boxed
from treeroll.scorers.base import ScoreItem, answer_of


class ExactScorer:
    r"""1.0 if the completion, or what its last \boxed{...} holds if it has one, equals the answer; both stripped."""

    name = "exact"
    version = 1

    def score(self, item: ScoreItem) -> float:
        """1.0 or 0.0. MissingInput without an answer."""
        answer = answer_of(item)
        boxed = last_boxed(item.completion)
        given = item.completion if boxed is None else boxed
        return float(given.strip() == answer)
