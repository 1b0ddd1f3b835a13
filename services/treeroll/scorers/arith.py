"""The demo's scorer: one integer, written one way."""

import re

from treeroll.boxed import last_boxed
from treeroll.scorers.answers import behind_thoughts
from treeroll.scorers.base import ScoreItem, answer_of

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")


class ArithScorer:
    r"""1.0 if the last \boxed{N} holds exactly the integer answer: no spaces, signs, zeros or separators more."""

    name = "arith"
    version = 1

    def check_fields(self, item: ScoreItem) -> None:
        """MissingInput without an answer, ValueError if it is not an integer."""
        self._integer(item)

    def score(self, item: ScoreItem) -> float:
        """1.0 or 0.0. MissingInput without an answer, ValueError if it is not an integer."""
        # Compared as text: int() refuses long runs of digits.
        return float(last_boxed(behind_thoughts(item.completion, item.prompt)) == self._integer(item))

    @staticmethod
    def _integer(item: ScoreItem) -> str:
        answer = answer_of(item)
        if not _INTEGER.fullmatch(answer):
            raise ValueError(f"the task's answer {answer[:50]!r} is not an integer in plain digits")
        return answer
