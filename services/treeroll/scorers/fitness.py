"""Whether a scorer can make anything of a task, asked before there is a completion."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from treeroll.scorers.base import LoadsLibrary, MissingInput, ScoreItem, Scorer

_NEAR = (
    "answer",
    "solution",
    "ground_truth",
    "gold",
    "gold_answer",
    "target",
    "label",
    "labels",
    "expected",
    "expected_answer",
    "correct_answer",
    "final_answer",
    "reference",
    "reference_answer",
    "answers",
)  # as other projects' data sets call the answer


@runtime_checkable
class ChecksTasks(Protocol):
    """A scorer that needs something of a task."""

    def check_fields(self, item: ScoreItem) -> None:
        """MissingInput or ValueError if no completion of the task can be scored, as far as a glance tells."""
        ...


@runtime_checkable
class ReadsTasks(ChecksTasks, Protocol):
    """One that must read a task's answer to know; that takes time, and belongs into a worker."""

    def check(self, item: ScoreItem) -> None:
        """Check as `check_fields` does, for good."""
        ...


class TaskCheck:
    """Scores a task instead of a completion: 1.0 if the scorer's `check`, where it has one, finds nothing wrong.

    Raises what it raises.
    """

    def __init__(self, scorer: Scorer, name: str) -> None:
        self.name = name
        self.version = 1
        self._scorer = scorer

    def load(self) -> None:
        """Load what the scorer needs."""
        if isinstance(self._scorer, LoadsLibrary):
            self._scorer.load()

    def score(self, item: ScoreItem) -> float:
        """1.0, or the error."""
        if isinstance(self._scorer, ReadsTasks):
            self._scorer.check(item)
        return 1.0


def why_unfit(scorer: ChecksTasks, item: ScoreItem) -> str | None:
    """What a glance at the task finds wrong, in words; None if nothing."""
    try:
        scorer.check_fields(item)
    except MissingInput as error:
        near = " or ".join(f"'{name}'" for name in near_answers(item.extra))
        hint = f"; its field {near} may be it: say so with --answer-field or answer_field=" if near else ""
        return f"{error}{hint}" if item.answer is None else str(error)
    except ValueError as error:
        return str(error)
    return None


def near_answers(extra: Mapping[str, Any]) -> Iterator[str]:
    """Fields that look like the task's answer under another name, with dots where they lie in an object."""
    for key, value in extra.items():
        if key.lower() in _NEAR and isinstance(value, str | int | float):
            yield key
        elif isinstance(value, Mapping):
            yield from (f"{key}.{inner}" for inner in value if inner.lower() in _NEAR)


@dataclass(slots=True)
class Unfit:
    """Tasks that a scorer can make nothing of."""

    scorer: str
    seen: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    """What was found, by task id."""

    @property
    def all(self) -> bool:
        """Whether none can be scored."""
        return 0 < self.seen == len(self.reasons)

    def sentence(self) -> str:
        """What to tell about it, with the first task's reason."""
        task_id, reason = next(iter(self.reasons.items()))
        if self.all:
            return f"scorer '{self.scorer}' can score none of {self.seen} tasks (task '{task_id}': {reason})"
        return (
            f"scorer '{self.scorer}' cannot score {len(self.reasons)} of {self.seen} tasks; their leaves will have "
            f"reward_status 'error' (task '{task_id}': {reason})"
        )
