"""Tasks of verifiers (https://github.com/PrimeIntellect-ai/verifiers), scored by the taskset that made them.

A task carries its data as the library writes them; taskset and task are classes, found by the taskset's name. What can
be scored is one answer to one prompt. What needs an agent, tools or a machine of its own is refused by name.
"""

import asyncio
import inspect
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pydantic import ValidationError

from treeroll.errors import InvalidInput
from treeroll.scorers.answers import behind_thoughts
from treeroll.scorers.base import MissingInput, ScoreItem

FIELD = "verifiers"
"""The field of a task that carries its data: an object of `taskset` and `data`."""

_STEPS = {
    "setup": "prepares a machine before the answer (setup)",
    "finalize": "works on a machine after the answer (finalize)",
    "stage_verifier": "stages files for its verifier (stage_verifier)",
}


class VerifiersScorer:
    """The reward of a taskset's task for one answer: the weighted sum of its rewards.

    The model's thoughts, up to `</think>`, are the message's reasoning. A task whose rewards or metrics want a runtime
    is an error, since the library would leave them out without a word.
    """

    version = 1

    def __init__(self, taskset: str) -> None:
        """InvalidInput without a name, or if the library is not installed. It is imported by `load`: it takes long."""
        if not taskset:
            raise InvalidInput("scorer 'verifiers' must be of the form verifiers:TASKSET")
        if find_spec("verifiers") is None:
            raise InvalidInput(
                "scorer 'verifiers' needs the package verifiers where the service runs: "
                "pip install 'treeroll[verifiers]'"
            )
        self.name = f"{FIELD}:{taskset}"
        self._taskset = taskset

    def load(self) -> None:
        """Import the library and the taskset. InvalidInput if there is none of that name."""
        taskset_class(self._taskset)

    def check_fields(self, item: ScoreItem) -> None:
        """MissingInput if the task is none of this taskset."""
        _data_of(item, self._taskset)

    def check(self, item: ScoreItem) -> None:
        """MissingInput as `check_fields`; ValueError for a task that it cannot read, or score by an answer."""
        self._task(item)

    def score(self, item: ScoreItem) -> float:
        """The reward. Raises what `check` raises, and what the taskset does."""
        task = self._task(item)
        answer = behind_thoughts(item.completion, item.prompt)
        return _finish(_reward(task, answer, item.completion.removesuffix(answer)))

    def _task(self, item: ScoreItem) -> Any:
        return _read_task(self._taskset, json.dumps(_data_of(item, self._taskset), sort_keys=True))


def module_of(taskset: str) -> str:
    """The module that the library imports for a taskset's name, as `owner/name@version`."""
    return taskset.rsplit("/", 1)[-1].partition("@")[0].replace("-", "_").lower()


@lru_cache(maxsize=64)
def taskset_class(name: str) -> Any:
    """The taskset of that name. InvalidInput says what the library found instead."""
    loaders = import_module("verifiers.v1.utils.loaders")
    try:
        return loaders.taskset_class(name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InvalidInput(f"verifiers has no taskset {name!r} here: {error}") from None


def obstacle(name: str, task: Any) -> str | None:
    """Why an answer alone is not enough for a task of this taskset, as the rest of a sentence; None if it is."""
    vf = import_module("verifiers.v1")
    kind, data, config = type(task), task.data, taskset_config(name)
    environment = vf.environment_class(name)
    if not issubclass(vf.SingleAgentEnv, environment):
        return f"plays in an environment of its own ({environment.__name__}), for more than one answer"
    if kind.NEEDS_CONTAINER or data.image is not None:
        return "needs a container"
    tools = [*kind.toolsets(task.config), *taskset_class(name).toolsets(config)]
    if tools:
        return f"has tools ({', '.join(type(tool).__name__ for tool in tools)})"
    for step, what in _STEPS.items():
        if getattr(kind, step) is not getattr(vf.Task, step):
            return what
    if rewriting := _marked(task, "intercept"):
        return f"rewrites requests ({', '.join(rewriting)})"
    if data.skills:
        return "installs skills"
    if data.prompt is None:
        return "has a task whose user opens the conversation"
    if not isinstance(data.prompt, str) and any(not isinstance(m.content, str) for m in data.prompt):
        return "has prompts that are not text"
    if wanting := _wanting_runtime(task):
        return f"judges with a runtime ({', '.join(wanting)}), and there is none"
    return None


def taskset_config(name: str, params: Mapping[str, Any] | None = None) -> Any:
    """A taskset's settings. InvalidInput says what the library has against `params`."""
    loaders = import_module("verifiers.v1.utils.loaders")
    taskset_class(name)
    try:
        return loaders.taskset_config_type(name).model_validate({**(params or {}), "id": name})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "they"
        raise InvalidInput(f"taskset {name!r} does not take these settings: {where}: {first['msg']}") from None


def _data_of(item: ScoreItem, taskset: str) -> Mapping[str, Any]:
    named = item.extra.get(FIELD)
    if not isinstance(named, Mapping) or not isinstance(named.get("data"), Mapping):
        raise MissingInput(f"the task has no field '{FIELD}'; `treeroll tasks from verifiers:TASKSET` writes it")
    if named.get("taskset") != taskset:
        raise MissingInput(f"the task is of taskset '{named.get('taskset')}', and the scorer of '{taskset}'")
    data: Mapping[str, Any] = named["data"]
    return data


@lru_cache(maxsize=256)  # a tree has one task and many leaves
def _read_task(name: str, data: str) -> Any:
    kind = taskset_class(name).task_type()
    task = kind(kind.data_type().model_validate_json(data), taskset_config(name).task)
    if (why := obstacle(name, task)) is not None:
        raise ValueError(f"taskset '{name}' {why}")
    return task


def _wanting_runtime(task: Any) -> list[str]:
    """Rewards, metrics and judges that `task.score` would leave out without a runtime."""
    signals = {function.__name__: function for attr in ("reward", "metric") for function in task.hooks(attr)}
    signals |= {judge.reward_name: judge.score for judge in task.plugged_judges()}
    return [name for name, signal in signals.items() if _needs_runtime(signal)]


def _needs_runtime(signal: Any) -> bool:
    parameter = inspect.signature(signal).parameters.get("runtime")
    return parameter is not None and parameter.default is inspect.Parameter.empty


def _marked(task: Any, mark: str) -> list[str]:
    decorators = import_module("verifiers.v1.utils.decorators")
    return [function.__name__ for function in decorators.discover_decorated(task, mark)]


async def _reward(task: Any, answer: str, thoughts: str) -> float:
    vf, states = import_module("verifiers.v1"), import_module("verifiers.v1.state")
    messages = messages_of(task.data)
    nodes = [vf.MessageNode(message=message, parent=place - 1 if place else None) for place, message in messages]
    said = vf.AssistantMessage(content=answer, reasoning_content=thoughts or None)
    nodes.append(vf.MessageNode(message=said, parent=len(nodes) - 1, sampled=True))
    trace = vf.Trace(
        task=vf.TraceTask(type=type(task).__name__, data=task.data, key=task.key, hash=task.hash),
        state=states.state_cls(type(task))(),
        agent=vf.AgentInfo(config=vf.AgentConfig()),
        nodes=nodes,
    )
    await task.score(trace, runtime=None)
    if not trace.rewards or None in trace.rewards.values():
        raise ValueError(f"the taskset gave no reward for {', '.join(trace.rewards) or 'the answer'}")
    return float(trace.reward)


def messages_of(data: Any) -> list[tuple[int, Any]]:
    """The messages of a task's prompt, numbered: its system prompt, then what the user says."""
    vf = import_module("verifiers.v1")
    system = [] if data.system_prompt is None else [vf.SystemMessage(content=data.system_prompt)]
    asked = [vf.UserMessage(content=data.prompt)] if isinstance(data.prompt, str) else list(data.prompt)
    return list(enumerate([*system, *asked]))


def _finish(reward: Any) -> float:
    """Run a coroutine: here, or beside the loop that runs here already, as in tests of a service."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return float(asyncio.run(reward))
    with ThreadPoolExecutor(1) as beside:
        return float(beside.submit(asyncio.run, reward).result())
