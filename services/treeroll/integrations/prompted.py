"""For trainers that ask for completions of their own prompts: so many for each, in the order they asked."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import uuid4

from treeroll.client.run import Run
from treeroll.client.training import Training
from treeroll.errors import InvalidInput
from treeroll.integrations.rows import Row, rows_of, trains

T = TypeVar("T")


def rows_for(run: Run, tasks: Sequence[Mapping[str, Any]], count: int, training: Training) -> list[list[Row | None]]:
    """`count` rows for each task, in order; None where its tree has fewer samples, or failed.

    Tasks are rows of a task file; their ids are made unique, since trainers ask for one prompt again. InvalidInput for
    a tree with more samples than `count`, since leaving some out would change what the others are credited for; and
    when no token of any is trained on.
    """
    asked = called_anew(tasks)
    samples = run.generate(asked).samples
    if not trains(samples):
        raise InvalidInput(f"none of the {len(samples)} samples of {len(tasks)} prompts has a reward to train on")
    return for_each(asked, count, ((row.sample.task_id, row) for row in rows_of(samples, **training)))


def repeated(names: Sequence[str]) -> tuple[list[str], int]:
    """Of prompts that come as often as completions are wanted of each: their names, each once, and how often."""
    order = list(dict.fromkeys(names))
    counts = {names.count(name) for name in order}
    if len(counts) != 1:
        raise InvalidInput(f"prompts come {sorted(counts)} times in one batch; all must come equally often")
    return order, counts.pop()


def called_anew(tasks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tasks under ids that no task has had, so that they are grown and not found."""
    return [{**task, "id": f"{task['id']}-{uuid4().hex[:12]}"} for task in tasks]


def for_each(tasks: Sequence[Mapping[str, Any]], count: int, found: Iterable[tuple[str, T]]) -> list[list[T | None]]:
    """What was found, by task id, as `count` for each task, in the order of tasks; None where there is less.

    InvalidInput for a task with more than `count`.
    """
    by_task: dict[str, list[T]] = {}
    for task_id, one in found:
        by_task.setdefault(task_id, []).append(one)
    return [_exactly(count, task["id"], by_task.get(task["id"], [])) for task in tasks]


def as_asked(names: Sequence[str], found: Sequence[Sequence[T]]) -> list[T]:
    """What was found for each of `repeated`'s prompts, one for each time that it comes, in that order."""
    of = dict(zip(dict.fromkeys(names), map(iter, found), strict=True))
    return [next(of[name]) for name in names]


def _exactly(count: int, task_id: str, found: list[T]) -> list[T | None]:
    if len(found) > count:
        raise InvalidInput(
            f"the tree of task '{task_id}' has {len(found)} samples, and the trainer wants {count} for each prompt: "
            f"give the run leaves={count}"
        )
    return [*found, *[None] * (count - len(found))]
