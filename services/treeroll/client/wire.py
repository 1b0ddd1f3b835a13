"""From what callers write to what travels: tasks in chunks, rewards, run configurations. Pure."""

import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from treeroll.checks import check_several, check_text, check_whole
from treeroll.config import RunConfig, check_run_id, parse
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import rollout_pb2
from treeroll.rows.values import Say, Told
from treeroll.tasks import USUAL, Fields, Task, task_from

log = logging.getLogger(__name__)

# The coordinator takes a request at once, and everything else waits meanwhile; but each is a round trip, and long when
# the coordinator is busy.
MAX_CHUNK_TASKS = 256
MAX_CHUNK_BYTES = 16 * 2**20
MAX_TASK_BYTES = 31 * 2**20  # a request may have 32 MiB

_NODE_PATH = re.compile(r"(\d+(\.\d+)*)?")


def create_run_request(run_id: str, values: Mapping[str, Any]) -> rollout_pb2.CreateRunRequest:
    """Validated here, so that a mistyped key is an InvalidInput without a round trip. Defaults are the service's."""
    check_run_id(run_id)
    config = parse(RunConfig, dict(values), f"run '{run_id}'")
    return rollout_pb2.CreateRunRequest(run_id=run_id, config_json=config.model_dump_json(exclude_unset=True))


def submit_requests(
    run_id: str,
    tasks: Iterable[Task | Mapping[str, Any]],
    epoch: int,
    fields: Fields = USUAL,
    say: Say = log.warning,
) -> Iterator[rollout_pb2.SubmitTasksRequest]:
    """Tasks in order, in requests of at most 256 tasks and 16 MiB. A mapping without `id` is "task-<position>"."""
    if isinstance(tasks, Task | Mapping | str):
        raise InvalidInput("tasks must be an iterable of tasks; put a single one in a list")
    if hasattr(tasks, "columns"):  # iterating over a table gives its columns
        raise InvalidInput("tasks must be an iterable of tasks; of a table give its rows, as frame.to_dict('records')")
    check_several("tasks", tasks, "tasks")
    check_whole("epoch", epoch, 0)
    chunk: list[rollout_pb2.Task] = []
    size = 0
    told = Told(say)
    for position, task in enumerate(tasks, 1):
        message = _task_message(task, position, fields, told)
        bytes_here = message.ByteSize()
        if chunk and (len(chunk) == MAX_CHUNK_TASKS or size + bytes_here > MAX_CHUNK_BYTES):
            yield rollout_pb2.SubmitTasksRequest(run_id=run_id, epoch=epoch, tasks=chunk)
            chunk, size = [], 0
        chunk.append(message)
        size += bytes_here
    if chunk:
        yield rollout_pb2.SubmitTasksRequest(run_id=run_id, epoch=epoch, tasks=chunk)


def _task_message(task: Task | Mapping[str, Any], position: int, fields: Fields, told: Told) -> rollout_pb2.Task:
    if not isinstance(task, Task):
        try:
            task = task_from(task, f"task-{position}", fields, told)
        except InvalidInput as error:
            raise InvalidInput(f"task {position}: {error}") from None
    message = rollout_pb2.Task(task_id=task.id, answer=task.answer)
    if task.prompt is not None:
        message.text = task.prompt
    elif task.messages is not None:
        message.messages_json = json.dumps(task.messages)
        if task.chat_template_kwargs:
            message.chat_template_kwargs_json = json.dumps(task.chat_template_kwargs)
    elif task.prompt_ids is not None:
        message.prompt_ids = np.asarray(task.prompt_ids, "<i4").tobytes()
    if task.extra:
        message.extra_json = json.dumps(dict(task.extra), allow_nan=False)
    if message.ByteSize() > MAX_TASK_BYTES:
        raise InvalidInput(f"task {task.id!r} has {message.ByteSize() / 2**20:.0f} MiB, at most 31 MiB are allowed")
    return message


class UnfitCounts:
    """What the scorers of a run could make nothing of, over all calls of a submission."""

    def __init__(self) -> None:
        self._found: dict[str, rollout_pb2.UnfitTasks] = {}

    def add(self, reply: rollout_pb2.SubmitTasksReply) -> None:
        """Note what one call found."""
        for unfit in reply.unfit:
            so_far = self._found.setdefault(unfit.scorer, unfit)
            if so_far is not unfit:
                so_far.count += unfit.count

    def tell(self, submitted: int, say: Say) -> None:
        """Say it, a sentence per scorer."""
        for unfit in self._found.values():
            say(
                f"scorer '{unfit.scorer}' cannot score {unfit.count} of {submitted} tasks; their leaves will have "
                f"reward_status 'error' (task '{unfit.task_id}': {unfit.reason})"
            )


def reward_reports(
    rewards: Iterable[tuple[str, str, float]], scorer: str, version: int
) -> list[rollout_pb2.RewardReport]:
    """(tree id, path or node id, value) as messages. InvalidInput names the node of a value that is not finite."""
    check_several("rewards", rewards, "rewards")
    check_text("scorer", scorer)
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version < 2**32:
        raise InvalidInput(f"the version of a reward must be a whole number of 1 or more, got {version!r}")
    return [
        rollout_pb2.RewardReport(
            tree_id=tree_id,
            path=_path_in(tree_id, node),
            value=_finite(value, tree_id, node),
            scorer=scorer,
            version=version,
        )
        for tree_id, node, value in map(_node_reward, rewards)
    ]


def _node_reward(reward: Any) -> tuple[str, str, Any]:
    tree_id, node, value = reward if isinstance(reward, tuple | list) and len(reward) == 3 else (None, None, None)
    if isinstance(tree_id, str) and isinstance(node, str):
        return tree_id, node, value
    raise InvalidInput(f"a reward of a node is (tree id, path or node id, value), got {reward!r}")


def _path_in(tree_id: str, node: str) -> str:
    """The path of a node given as path or as node id."""
    owner, separator, path = node.rpartition(":")
    if separator and owner != tree_id:
        raise InvalidInput(f"node {node!r} is not in tree {tree_id!r}")
    if not _NODE_PATH.fullmatch(path):
        raise InvalidInput(
            f"{node!r} names no node of tree {tree_id!r}; a path is numbers joined by dots, e.g. '0.1.0'"
        )
    return path


def _finite(value: Any, tree_id: str, node: str) -> float:
    name = node if ":" in node else f"{tree_id}:{node}"
    try:
        if not hasattr(type(value), "__float__"):  # float() would read text
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(f"reward of node {name} must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise InvalidInput(f"reward of node {name} must be finite, got {number}; leave out what has no score")
    return number
