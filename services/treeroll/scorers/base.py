"""The nouns of scoring: what goes in, what comes out, and what a scorer is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class ScoreItem:
    """One finished text and what its task says about it."""

    prompt: str
    completion: str
    answer: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)  # the task's other fields: JSON values only


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Score `item` with the scorer a run named. `key` is the caller's own; nobody else reads it."""

    key: object
    scorer: str
    item: ScoreItem


@dataclass(frozen=True, slots=True)
class Job:
    """A request on its way to a worker: plain data, without the caller's key."""

    scorer: str
    item: ScoreItem
    timeout_s: float


class ErrorKind(StrEnum):
    """Why there is no reward: the label of the error counter."""

    RAISED = "raised"  # the scorer raised
    MISSING = "missing_input"  # the task lacks what the scorer needs
    NOT_A_NUMBER = "not_a_number"  # the scorer returned something else
    NOT_FINITE = "not_finite"  # NaN or an infinity
    TIMEOUT = "timeout"
    DIED = "died"  # the scoring process ended under the item, twice
    UNLOADABLE = "unloadable"  # the scorer does not load where it has to run
    LOST = "worker_lost"  # the worker's actor or machine went away, twice


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """A finite value, None with a one-line error and its kind, or None alone: the scorer abstained.

    A failure is never 0.
    """

    value: float | None
    error: str = ""
    kind: ErrorKind | None = None

    @property
    def abstained(self) -> bool:
        """The scorer has nothing to say of the item, and nothing went wrong."""
        return self.value is None and self.kind is None

    @classmethod
    def failed(cls, kind: ErrorKind, error: str) -> "ScoreResult":
        """A result without a value."""
        return cls(None, error, kind)


@dataclass(slots=True)
class ScoreCounts:
    """What a service has done since it was made."""

    scored: int = 0
    abstained: int = 0
    errors: Counter[str] = field(default_factory=Counter)  # by ErrorKind

    def add(self, result: ScoreResult) -> None:
        """Count one result."""
        if result.kind is not None:
            self.errors[result.kind] += 1
        elif result.abstained:
            self.abstained += 1
        else:
            self.scored += 1


class Scorer(Protocol):
    """Turns one item into a number. Pure and stateless; raises when it cannot tell."""

    @property
    def name(self) -> str:
        """Registered name; with `version`, the identity of the rewards it gives."""
        ...

    @property
    def version(self) -> int:
        """Raised whenever the same item may get another score than before."""
        ...

    def score(self, item: ScoreItem) -> float | None:
        """The reward; None to abstain. Any exception becomes an error of this item alone."""
        ...


@runtime_checkable
class LoadsLibrary(Protocol):
    """A scorer whose library takes seconds to import: whoever scores calls `load` first, others need not wait."""

    def load(self) -> None:
        """Import it; any exception of the import comes through."""
        ...


class ScoringService(Protocol):
    """What the coordinator talks to: `ScorerPool`, or `InlineScorers` in simulations."""

    counts: ScoreCounts

    async def start(self) -> None:
        """Make ready. Unavailable if it cannot be."""
        ...

    async def score(
        self, requests: Sequence[ScoreRequest], timeout_s: float, *, first: bool = False
    ) -> list[ScoreResult]:
        """One result per request, in order; `first`: before what waits already.

        Unavailable, and no result, if the service stops meanwhile.
        """
        ...

    async def stop(self) -> None:
        """End everything that was started."""
        ...


# Sums and squares of rewards must stay finite in float32, which arrays for training are of.
MAX_REWARD = 1e15


class MissingInput(Exception):
    """The task lacks a field this scorer needs; becomes an error of the item."""


def answer_of(item: ScoreItem) -> str:
    """The task's answer, stripped. MissingInput if it has none: nothing can be right or wrong then."""
    if item.answer is None or not item.answer.strip():
        raise MissingInput("the task has no answer")
    return item.answer.strip()
