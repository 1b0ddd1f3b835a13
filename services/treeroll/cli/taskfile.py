"""The task files of a rollout: checked whole before anything starts, then read again as tasks are submitted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from treeroll.errors import InvalidInput
from treeroll.rows.files import OneOrMore, source_name, task_files
from treeroll.rows.values import Say
from treeroll.scorers.base import ScoreItem
from treeroll.scorers.fitness import Unfit, why_unfit
from treeroll.scorers.registry import task_checker
from treeroll.tasks import USUAL, Fields, Task, iter_tasks, no_answers

OnSkip = Callable[[InvalidInput], None]


class PromptCheck(Protocol):
    """Says whether a model can take a task's prompt."""

    def __call__(self, task: Task, where: str) -> None:
        """InvalidInput if it cannot; the sentence starts with `where`."""


class ScorerNeeds:
    """Looks at tasks for what a scorer needs of them."""

    def __init__(self, scorer: str) -> None:
        """InvalidInput for a scorer that is none."""
        self._checker = task_checker(scorer)
        self._unfit = Unfit(scorer)

    def look_at(self, task: Task) -> None:
        """Note what the task lacks."""
        self._unfit.seen += 1
        why = why_unfit(self._checker, ScoreItem("", "", task.answer, dict(task.extra))) if self._checker else None
        if why is not None:
            self._unfit.reasons[task.id] = why

    def settle(self, say: Say | None) -> None:
        """InvalidInput if the scorer can make nothing of all tasks; a sentence if of some."""
        if self._unfit.all:
            raise InvalidInput(self._unfit.sentence())
        if self._unfit.reasons and say is not None:
            say(self._unfit.sentence())


@dataclass(frozen=True, slots=True)
class TaskFile:
    """Checked task files. They are read twice, so that memory grows with the ids of their tasks only."""

    name: str
    """The files, as the user gave them."""
    files: Sequence[Path]
    fields: Fields
    sha256: str
    count: int
    limit: int | None
    skip_invalid: bool
    unfit: frozenset[str]
    """Ids that `--skip-invalid` left out because the model cannot take their prompt."""

    @classmethod
    def check(
        cls,
        source: OneOrMore,
        *,
        limit: int | None,
        skip_invalid: bool,
        check_prompt: PromptCheck | None,
        on_skip: OnSkip,
        fields: Fields = USUAL,
        on_note: Say | None = None,
        needs: Sequence[ScorerNeeds] = (),
    ) -> "TaskFile":
        """Read all tasks once. InvalidInput names file and line, row or id; with `skip_invalid` `on_skip` gets it.

        `on_note` hears what values become that JSON has not, and of tasks that lack what `needs` ask for.
        """
        if limit is not None and limit < 1:
            raise InvalidInput(f"--limit must be 1 or more, got {limit}")
        unfit: set[str] = set()
        count, answered = 0, False
        name = source_name(source)
        files = task_files(source)
        rows = iter_tasks(source, skip_invalid=skip_invalid, on_skip=on_skip, fields=fields, on_note=on_note)
        for task in rows:
            if count == limit:
                break
            try:
                if check_prompt is not None:
                    check_prompt(task, f"{name}: task '{task.id}'")
                count += 1
                answered = answered or task.answer is not None
                for need in needs:
                    need.look_at(task)
            except InvalidInput as error:
                if not skip_invalid:
                    raise
                on_skip(error)
                unfit.add(task.id)
        if fields.answer and not answered:
            raise no_answers(name, fields)
        if not count:
            raise InvalidInput(f"{name} holds no task that can run")
        for need in needs:
            need.settle(on_note)
        return cls(name, files, fields, _digest(files), count, limit, skip_invalid, frozenset(unfit))

    def tasks(self) -> Iterator[Task]:
        """The good tasks, in order."""
        rows = iter_tasks(
            self.files,
            skip_invalid=self.skip_invalid,
            on_skip=lambda error: None,
            fields=self.fields,
            on_note=lambda sentence: None,
        )
        return islice((task for task in rows if task.id not in self.unfit), self.limit)


def _digest(files: Sequence[Path]) -> str:
    """SHA-256 of a file, or of several files' digests."""
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(file_digest(file, "sha256"))
    return digests[0].hexdigest() if len(digests) == 1 else sha256(b"".join(d.digest() for d in digests)).hexdigest()


def prompt_check(tokenizer: Any, chat: Any) -> PromptCheck:
    """A check against the context and vocabulary of a model (`treeroll.tokenizer.Tokenizer`).

    `chat` is how messages are rendered (`treeroll.coordinator.prompts.ChatSettings`).
    """

    def check(task: Task, where: str) -> None:
        try:
            ids = _ids(task, tokenizer, chat)
        except InvalidInput as error:
            raise InvalidInput(f"{where}: {error}") from None
        tokenizer.check_prompt(ids, where)

    return check


def _ids(task: Task, tokenizer: Any, chat: Any) -> list[int]:
    if task.prompt is not None:
        return list(tokenizer.encode_text(task.prompt))
    if task.messages is not None:
        return list(tokenizer.encode_messages(task.messages, {**chat.kwargs, **task.chat_template_kwargs}, chat.day)[0])
    return list(task.prompt_ids or ())
