"""The task file of a rollout: checked whole before anything starts, then read again as tasks are submitted."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import file_digest
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from treeroll.errors import InvalidInput
from treeroll.tasks import Task, iter_tasks

OnSkip = Callable[[InvalidInput], None]


class PromptCheck(Protocol):
    """Says whether a model can take a task's prompt."""

    def __call__(self, task: Task, where: str) -> None:
        """InvalidInput if it cannot; the sentence starts with `where`."""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A checked task file. It is read twice, so that memory grows with the ids of its tasks only."""

    path: Path
    sha256: str
    count: int
    limit: int | None
    skip_invalid: bool
    unfit: frozenset[str]
    """Ids that `--skip-invalid` left out because the model cannot take their prompt."""

    @classmethod
    def check(
        cls, path: Path, *, limit: int | None, skip_invalid: bool, check_prompt: PromptCheck | None, on_skip: OnSkip
    ) -> "TaskFile":
        """Read all tasks once. InvalidInput names file and line, row or id; with `skip_invalid` `on_skip` gets it."""
        if limit is not None and limit < 1:
            raise InvalidInput(f"--limit must be 1 or more, got {limit}")
        unfit: set[str] = set()
        count = 0
        for task in iter_tasks(path, skip_invalid=skip_invalid, on_skip=on_skip):
            if count == limit:
                break
            try:
                if check_prompt is not None:
                    check_prompt(task, f"{path}: task '{task.id}'")
                count += 1
            except InvalidInput as error:
                if not skip_invalid:
                    raise
                on_skip(error)
                unfit.add(task.id)
        if not count:
            raise InvalidInput(f"{path} holds no task that can run")
        with path.open("rb") as file:
            sha256 = file_digest(file, "sha256").hexdigest()
        return cls(path, sha256, count, limit, skip_invalid, frozenset(unfit))

    def tasks(self) -> Iterator[Task]:
        """The good tasks, in order."""
        rows = iter_tasks(self.path, skip_invalid=self.skip_invalid, on_skip=lambda error: None)
        return islice((task for task in rows if task.id not in self.unfit), self.limit)


def prompt_check(tokenizer: Any) -> PromptCheck:
    """A check against the context and vocabulary of a model (`treeroll.tokenizer.Tokenizer`)."""

    def check(task: Task, where: str) -> None:
        try:
            ids = _ids(task, tokenizer)
        except InvalidInput as error:
            raise InvalidInput(f"{where}: {error}") from None
        tokenizer.check_prompt(ids, where)

    return check


def _ids(task: Task, tokenizer: Any) -> list[int]:
    if task.prompt is not None:
        return list(tokenizer.encode_text(task.prompt))
    if task.messages is not None:
        return list(tokenizer.encode_messages([dict(message) for message in task.messages])[0])
    return list(task.prompt_ids or ())
