"""Scoring without processes, for simulations and tests of the coordinator."""

from collections.abc import Sequence
from functools import lru_cache

from treeroll.errors import InvalidInput
from treeroll.scorers import guard, registry
from treeroll.scorers.base import ErrorKind, ScoreCounts, Scorer, ScoreRequest, ScoreResult


class InlineScorers:
    """The contract of `ScorerPool`, kept by calling scorers right here, on the event loop.

    Only for scorers that are known to be quick and harmless: timeouts are not enforced, a scorer that hangs hangs the
    caller, one that exits ends it. Anything that scores real model output uses `ScorerPool`.
    """

    def __init__(self) -> None:
        self.counts = ScoreCounts()

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def score(
        self, requests: Sequence[ScoreRequest], timeout_s: float = 10.0, *, first: bool = False
    ) -> list[ScoreResult]:
        """One result per request, in order."""
        del timeout_s, first  # nothing here can enforce it, and nothing waits
        results = [_score(request) for request in requests]
        for result in results:
            self.counts.add(result)
        return results


def _score(request: ScoreRequest) -> ScoreResult:
    try:
        scorer = _load(request.scorer)
    except InvalidInput as error:
        return ScoreResult.failed(ErrorKind.UNLOADABLE, guard.one_line(str(error)))
    return guard.run(scorer, request.item)


@lru_cache(maxsize=64)
def _load(text: str) -> Scorer:
    return registry.load(text)
