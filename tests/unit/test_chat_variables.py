"""Variables of chat templates: what a run or a task may set."""

from typing import Any

import pytest

from treeroll.config import RunConfig, parse
from treeroll.coordinator.prompts import ChatSettings, prompt_of
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.tasks import Task, task_from
from treeroll.tokenizer import Tokenizer

MESSAGES = [{"role": "user", "content": "hi"}]
BAD: list[tuple[Any, str]] = [
    ({"messages": []}, "'chat_template_kwargs.messages' is set by the service; leave it out"),
    (
        {"chat_template": "x"},
        "'chat_template_kwargs.chat_template' is set by the service; set generator.chat_template to a file",
    ),
    ({"strftime_now": "x"}, "'chat_template_kwargs.strftime_now' is set by the service; set chat_date"),
    ({"tokenize": True}, "'chat_template_kwargs.tokenize' is set by the service; leave it out"),
    ({"a": [{"b": "\ud800"}]}, "'chat_template_kwargs.a[0].b' holds half a surrogate pair"),
]


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [*BAD, ({"a": float("inf")}, "'chat_template_kwargs.a' cannot be written as JSON, got inf")],
)
def test_what_a_run_may_not_set_is_named(kwargs: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(RunConfig, {"chat_template_kwargs": kwargs}, "run 'r'")
    assert str(caught.value).startswith(f"run 'r': {sentence}")


@pytest.mark.parametrize(("kwargs", "sentence"), [*BAD, ([], "'chat_template_kwargs' must be an object, got a list")])
def test_what_a_task_may_not_set_is_named(kwargs: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        task_from({"messages": MESSAGES, "chat_template_kwargs": kwargs}, "t")
    assert str(caught.value).startswith(sentence)


def test_null_variables_are_absent() -> None:
    kwargs = {"a": None, "b": {"c": None, "d": 1}, "e": False}
    assert parse(RunConfig, {"chat_template_kwargs": kwargs}, "run").chat_template_kwargs == {"b": {"d": 1}, "e": False}
    task = task_from({"messages": MESSAGES, "chat_template_kwargs": kwargs}, "t")
    assert (task.chat_template_kwargs, task.extra) == ({"b": {"d": 1}, "e": False}, {})
    for nothing in (None, {"a": None}, {}):  # as a table has them in rows without messages
        assert task_from({"prompt": "x", "chat_template_kwargs": nothing}, "t") == Task("t", prompt="x")


@pytest.mark.parametrize("prompt", [{"prompt": "x"}, {"prompt_ids": [1]}])
def test_variables_without_messages_are_refused(prompt: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"'chat_template_kwargs' goes with 'messages'.* has '{next(iter(prompt))}'"):
        task_from({**prompt, "chat_template_kwargs": {"a": 1}}, "t")
    with pytest.raises(InvalidInput, match="task 't': 'chat_template_kwargs' goes with 'messages'"):
        prompt_of(
            api.Task(task_id="t", text="x", chat_template_kwargs_json="{}"),
            Tokenizer(MODEL_DIR),
            ChatSettings.of(RunConfig().model_dump_json()),
            "task 't'",
        )
