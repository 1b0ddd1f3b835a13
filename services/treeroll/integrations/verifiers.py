"""Tasks from tasksets of verifiers; scorer `verifiers:TASKSET` scores them."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from treeroll.errors import InvalidInput
from treeroll.scorers.verifiers import FIELD, messages_of, obstacle, taskset_class, taskset_config

Row = dict[str, Any]


def rows(
    name: str, count: int | None, *, seed: int | None = None, params: Mapping[str, Any] | None = None
) -> Iterator[Row]:
    """Tasks of a taskset as rows of a task file, with chat messages.

    Args:
        name: An installed taskset, or a module of that name that exports one.
        count: How many at most; None takes all of a taskset that ends.
        seed: Shuffles a taskset that ends; None keeps its order.
        params: The taskset's own settings. Those of its tasks cannot be set: a scorer reads tasks without them.

    Raises:
        InvalidInput: No such taskset, settings that it refuses, a taskset without end and count, or tasks that need
            more than one answer to one prompt (an environment, tools, a container, a runtime), by name.
    """
    if params and "task" in params:
        raise InvalidInput(f"taskset {name!r}: settings of its tasks ('task') cannot be set, only the taskset's own")
    taskset = taskset_class(name)(taskset_config(name, params))
    if not taskset.bounded and (count is None or seed is not None):
        wanted = (
            "say how many tasks with --count (count=)" if count is None else "it cannot be shuffled (--seed, seed=)"
        )
        raise InvalidInput(f"taskset {name!r} has no end: {wanted}")
    if seed is not None:
        taskset = taskset.shuffle(seed)
    for task in islice(taskset, count):
        if (why := obstacle(name, task)) is not None:
            raise InvalidInput(f"taskset {name!r} {why}; treeroll samples answers to a prompt")
        yield _row(name, task.data)


def _row(name: str, data: Any) -> Row:
    messages = [{"role": message.role, "content": message.content} for _, message in messages_of(data)]
    plain = data.model_dump(mode="json", exclude_defaults=True)
    return {"id": f"{name}-{data.idx}", "messages": messages, FIELD: {"taskset": name, "data": plain}}
