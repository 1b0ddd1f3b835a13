"""Equal text."""

from unicodedata import normalize

from treeroll.boxed import last_boxed
from treeroll.scorers.answers import behind_thoughts
from treeroll.scorers.base import ScoreItem, answer_of


class ExactScorer:
    r"""1.0 if the completion, or what its last \boxed{...} holds if it has one, equals the answer; both stripped.

    The model's thoughts, up to `</think>`, are not read. Accents are equal however Unicode writes them (NFC).
    """

    name = "exact"
    version = 2

    def check_fields(self, item: ScoreItem) -> None:
        """MissingInput without an answer."""
        answer_of(item)

    def score(self, item: ScoreItem) -> float:
        """1.0 or 0.0. MissingInput without an answer."""
        answer = answer_of(item)
        completion = behind_thoughts(item.completion, item.prompt)
        boxed = last_boxed(completion)
        given = completion if boxed is None else boxed
        return float(normalize("NFC", given.strip()) == normalize("NFC", answer))
