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

    def score(self, item: ScoreItem) -> float:
        """1.0 or 0.0. MissingInput without an answer, ValueError if it is not an integer."""
        answer = answer_of(item)
        if not _INTEGER.fullmatch(answer):
            raise ValueError(f"the task's answer {answer[:50]!r} is not an integer in plain digits")
        return float(
            last_boxed(behind_thoughts(item.completion)) == answer
        )  # text, as int() refuses long runs of digits
