"""Mathematical equality, by math-verify."""

import importlib
import logging
from typing import Any

from treeroll.errors import InvalidInput
from treeroll.scorers.base import ScoreItem, answer_of

_MARKED = ("\\boxed", "$", "\\(", "\\[")  # what math-verify recognises as LaTeX


class MathScorer:
    """1.0 if math-verify finds an answer in the completion that equals the task's; 0.0 if it finds none or another.

    Its own timeouts are off: they use SIGALRM, which works in the main thread only, and they turn a timeout into
    "wrong". The worker's clock kills instead and reports an error.
    """

    name = "math"
    version = 1

    def __init__(self) -> None:
        """InvalidInput if math-verify is not installed."""
        try:
            # Here, not at the top: importing sympy takes half a second and most processes never score.
            self._library: Any = importlib.import_module("math_verify")
        except ImportError as error:
            raise InvalidInput(f"scorer 'math' needs the package math-verify: {error}") from None
        # It warns that somebody else must enforce timeouts. Somebody does.
        logging.getLogger("math_verify").setLevel(logging.ERROR)

    def score(self, item: ScoreItem) -> float:
        """1.0 or 0.0. MissingInput without an answer, ValueError if the answer holds nothing to compare with."""
        answer = answer_of(item)
        gold = self._library.parse(_marked(answer), parsing_timeout=None)
        if not gold:
            raise ValueError(f"math-verify finds nothing in the task's answer {answer[:50]!r}")
        given = self._library.parse(item.completion, parsing_timeout=None)
        return float(self._library.verify(gold, given, timeout_seconds=None))


def _marked(answer: str) -> str:
    """The answer as LaTeX that math-verify recognises: it ignores a bare `x^2+1`."""
    return answer if any(mark in answer for mark in _MARKED) else f"\\boxed{{{answer}}}"
