"""A pattern the completion must match."""

import re

from treeroll.errors import InvalidInput
from treeroll.scorers.base import MissingInput, ScoreItem


class RegexScorer:
    """1.0 if the pattern is found anywhere in the completion. Anchor it (`\\A`, `\\Z`) to match the whole.

    The pattern is the run's (`regex:PATTERN`) or, if that is empty, each task's `extra["pattern"]`. A pattern that
    backtracks for ever does so in the worker, and costs the item its reward and nothing else.
    """

    name = "regex"
    version = 1

    def __init__(self, pattern: str = "") -> None:
        """InvalidInput if the pattern does not compile."""
        try:
            self._pattern = re.compile(pattern) if pattern else None
        except (re.error, RecursionError, OverflowError) as error:
            raise InvalidInput(f"scorer 'regex': {pattern[:200]!r} is not a regular expression: {error}") from None

    def check_fields(self, item: ScoreItem) -> None:
        """Score as `score` does."""
        self._of(item)

    def score(self, item: ScoreItem) -> float:
        """1.0 or 0.0. MissingInput if neither run nor task has a pattern, ValueError if the task's does not compile."""
        return float(self._of(item).search(item.completion) is not None)

    def _of(self, item: ScoreItem) -> "re.Pattern[str]":
        if self._pattern is not None:
            return self._pattern
        pattern = self._task_pattern(item)
        try:
            return re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"the task's pattern {pattern[:50]!r} is not a regular expression: {error}") from None

    @staticmethod
    def _task_pattern(item: ScoreItem) -> str:
        pattern = item.extra.get("pattern")
        if not isinstance(pattern, str) or not pattern:
            raise MissingInput("neither the run (regex:PATTERN) nor the task (extra field 'pattern') has a pattern")
        return pattern
