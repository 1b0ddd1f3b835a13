"""For trainers that ask for completions of their own prompts: so many for each, in the order they asked."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from treeroll.client.run import Run
from treeroll.client.training import Training
from treeroll.errors import InvalidInput
from treeroll.integrations.rows import Row, rows_of, trains


def rows_for(run: Run, tasks: Sequence[Mapping[str, Any]], count: int, training: Training) -> list[list[Row | None]]:
    """`count` rows for each task, in order; None where its tree has fewer samples, or failed.

    Tasks are rows of a task file; their ids are made unique, since trainers ask for one prompt again. InvalidInput for
    a tree with more samples than `count`, since leaving some out would change what the others are credited for; and
    when no token of any is trained on.
    """
    asked = [{**task, "id": f"{task['id']}-{uuid4().hex[:12]}"} for task in tasks]
    batch = run.generate(asked)
    samples = batch.samples
    if not trains(samples):
        raise InvalidInput(f"none of the {len(samples)} samples of {len(tasks)} prompts has a reward to train on")
    rows: dict[str, list[Row]] = {}
    for row in rows_of(samples, **training):
        rows.setdefault(row.sample.task_id, []).append(row)
    return [_exactly(count, task["id"], rows.get(task["id"], [])) for task in asked]


def _exactly(count: int, task_id: str, rows: list[Row]) -> list[Row | None]:
    if len(rows) > count:
        raise InvalidInput(
            f"the tree of task '{task_id}' has {len(rows)} samples, and the trainer wants {count} for each prompt: "
            f"give the run leaves={count}"
        )
    return [*rows, *[None] * (count - len(rows))]
