"""Mathematical equality, by math-verify."""

import importlib
import logging
import math
import re
from functools import lru_cache
from typing import Any

from treeroll.errors import InvalidInput
from treeroll.scorers.answers import answer_in, answer_of_solution, boxed_in
from treeroll.scorers.base import ScoreItem, answer_of
from treeroll.scorers.judgeable import MAX_CHARS, why_not_judgeable
from treeroll.scorers.notation import latex_of

BOXED = "boxed"
_BASE = re.compile(r"\d_\{?(\d+)\}?$")
DECIMALS, PRECISION = 6, 15  # math-verify's own


class MathScorer:
    r"""1.0 if the completion's answer equals the task's by math-verify; 0.0 if it is another or none is given.

    Where an answer is looked for: `treeroll.scorers.answers`; with the form "boxed" in \boxed{...} only. An answer that
    no computer algebra system would get done with is an error, as a timeout is.

    math-verify's own timeouts are off: they use SIGALRM, which works in the main thread only, and they turn a timeout
    into "wrong". The worker's clock kills instead and reports an error.
    """

    version = 1

    def __init__(self, form: str = "") -> None:
        """InvalidInput for an unknown form, or if math-verify is not installed."""
        if form not in ("", BOXED):
            raise InvalidInput(f"scorer 'math' takes no argument but '{BOXED}', got '{form[:200]}'")
        self.name = f"math:{form}" if form else "math"
        try:
            # Here, not at the top: importing sympy takes half a second and most processes never score.
            self._library: Any = importlib.import_module("math_verify")
        except ImportError as error:
            raise InvalidInput(f"scorer 'math' needs the package math-verify: {error}") from None
        # It warns that somebody else must enforce timeouts. Somebody does.
        logging.getLogger("math_verify").setLevel(logging.ERROR)
        self._form = form
        self._latex = [self._library.LatexExtractionConfig(boxed_match_priority=0)]
        self._gold = lru_cache(maxsize=1024)(self._read_gold)  # a tree has one answer and many leaves

    def check_fields(self, item: ScoreItem) -> None:
        """MissingInput without an answer."""
        answer_of(item)

    def check(self, item: ScoreItem) -> None:
        """MissingInput without an answer, ValueError if the answer holds nothing to compare with."""
        self._gold(answer_of(item))

    def score(self, item: ScoreItem) -> float:
        """1.0 or 0.0. As `check`; ValueError, too, for a completion whose answer cannot be judged."""
        gold = self._gold(answer_of(item))
        given = self._answer(item)
        if given is None:
            return 0.0
        if (why := why_not_judgeable(content := latex_of(given[: MAX_CHARS + 1]))) is not None:
            raise ValueError(f"the completion's answer cannot be judged: {why}")
        if _other_base(content, str(gold[-1])):
            return 0.0
        zeros = _leading_zeros(gold[0])
        equal = self._library.verify(
            gold,
            self._read(content),
            float_rounding=DECIMALS + zeros,
            numeric_precision=PRECISION + zeros,
            timeout_seconds=None,
        )
        return float(equal)

    def _answer(self, item: ScoreItem) -> str | None:
        if self._form == BOXED:
            return boxed_in(item.completion, item.prompt)
        return answer_in(item.completion, item.prompt)

    def _read_gold(self, answer: str) -> Any:
        content = latex_of(answer_of_solution(answer)[: MAX_CHARS + 1])
        if (why := why_not_judgeable(content)) is not None:
            raise ValueError(f"the task's answer {answer[:50]!r} cannot be judged: {why}")
        gold = self._read(content)
        words = all(isinstance(reading, str) for reading in gold)  # math-verify falls back to text, equal or not
        if not gold or (words and len(content.split()) > 1):
            raise ValueError(f"math-verify finds nothing in the task's answer {answer[:50]!r}")
        return gold

    def _read(self, content: str) -> Any:
        # Boxed, because math-verify ignores a bare `x^2+1`, and takes off units and currencies in a box.
        return self._library.parse(f"\\boxed{{{content}}}", self._latex, parsing_timeout=None)


def _leading_zeros(gold: Any) -> int:
    """Zeros behind the point of a number: it is compared to that many decimals more, so that no tiny one is another."""
    try:
        size = abs(float(gold))
    except (TypeError, ValueError, OverflowError):  # no number
        return 0
    return -math.floor(math.log10(size)) - 1 if 0 < size < 1 else 0


def _other_base(given: str, gold: str) -> bool:
    """Whether both say in which base they are, and not the same: math-verify does not read it."""
    bases = [match[1] for text in (given, gold) if (match := _BASE.search(text))]
    return len(set(bases)) > 1
