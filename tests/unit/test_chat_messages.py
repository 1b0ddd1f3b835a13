"""Messages: what is accepted, what is left out, and the sentence for everything that no template should see."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from treeroll.coordinator.prompts import ChatSettings, prompt_of
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.tasks import Task, read_tasks, task_from
from treeroll.tokenizer import Tokenizer

CHAT = ChatSettings({}, date(2026, 2, 3))
HALF = "\ud83d"
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}


def user(**more: Any) -> dict[str, Any]:
    return {"role": "user", "content": "hi", **more}


def calling(**more: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [CALL], **more}


BAD = [
    ("hi", "'messages' must be a list, got text"),
    ([], "'messages' is empty"),
    (["hi"], "'messages[0]' must be an object with 'role' and 'content', got text"),
    ([None], "'messages[0]' must be an object with 'role' and 'content', got null"),
    ([{"content": "hi"}], "'messages[0]' has no 'role'"),
    ([{"from": "human", "value": "hi"}], "'messages[0]' has no 'role', but 'from', 'value'"),
    ([{"role": "user", "text": "hi"}], "'messages[0]' has no 'content', but 'text'"),
    ([{"role": None, "content": "hi"}], "'messages[0]' has no 'role'"),
    ([{"role": "", "content": "hi"}], "'messages[0].role' is empty"),
    ([user(), {"role": "user"}], "'messages[1]' has no 'content'"),
    (
        [user(), user(role="Assistant")],
        "'messages[1].role' is 'Assistant', which templates take for a role of its own; write 'assistant'",
    ),
    ([user(role="USER ")], "'messages[0].role' is 'USER ', which templates take for a role of its own; write 'user'"),
    ([{"role": "user", "content": None}], "'messages[0]' has no 'content'"),
    ([{"role": "assistant", "tool_calls": []}], "'messages[0]' has no 'content'"),
    ([{"role": "user", "content": 5}], "'messages[0].content' must be text, got a number"),
    ([{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "'messages[0].content' must be text, got a list"),
    ([calling(content=5)], "'messages[0].content' must be text, got a number"),
    ([user(content=HALF)], "'messages[0].content' holds half a surrogate pair, which is no valid Unicode text"),
    ([user(role=HALF)], "'messages[0].role' holds half a surrogate pair, which is no valid Unicode text"),
    ([user(name=HALF)], "'messages[0].name' holds half a surrogate pair, which is no valid Unicode text"),
    (
        [user(), calling(tool_calls=[CALL, {"function": {"name": f"a{HALF}"}}])],
        "'messages[1].tool_calls[1].function.name' holds half a surrogate pair, which is no valid Unicode text",
    ),
    (
        [user(parts=[["ok", [HALF]]])],
        "'messages[0].parts[0][1][0]' holds half a surrogate pair, which is no valid Unicode text",
    ),
    ([user(**{HALF: "x"})], "'a key of messages[0]' holds half a surrogate pair, which is no valid Unicode text"),
    (
        [user(a={"b": {HALF: None}})],
        "'a key of messages[0].a.b' holds half a surrogate pair, which is no valid Unicode text",
    ),
]
# Rows of tables have these, and are read as `treeroll.rows.values` says.
NO_JSON = [
    ([user(score=float("nan"))], "'messages[0].score' cannot be written as JSON, got nan"),
    ([user(a=[{"b": float("-inf")}])], "'messages[0].a[0].b' cannot be written as JSON, got -inf"),
]


@pytest.mark.parametrize(("messages", "sentence"), BAD)
def test_a_bad_message_is_named_in_a_file_and_may_be_skipped(tmp_path: Path, messages: Any, sentence: str) -> None:
    path = tmp_path / "tasks.jsonl"
    good = {"id": "good", "messages": [user()]}
    path.write_text("".join(f"{json.dumps(row)}\n" for row in (good, {"messages": messages})))
    with pytest.raises(InvalidInput) as caught:
        read_tasks(path)
    assert str(caught.value) == f"{path} line 2: {sentence}"
    assert [task.id for task in read_tasks(path, skip_invalid=True, on_skip=lambda _: None)] == ["good"]


@pytest.mark.parametrize(("messages", "sentence"), [*BAD, *NO_JSON])
def test_the_service_refuses_the_same_whoever_sends_it(messages: Any, sentence: str) -> None:
    task = api.Task(task_id="t", messages_json=json.dumps(messages))
    with pytest.raises(InvalidInput) as caught:
        prompt_of(task, Tokenizer(MODEL_DIR), CHAT, "task 't'")
    assert str(caught.value) == f"task 't': {sentence}"


@pytest.mark.parametrize(
    "raw", ["{", "[" * 10_000, '[{"role": "user", "content": "hi", "a": ' + "[" * 900 + "]" * 900 + "}]"]
)
def test_what_cannot_be_read_is_an_error_of_the_caller(raw: str) -> None:
    with pytest.raises(InvalidInput, match=r"task 't': .*(not usable JSON|nested too deeply)"):
        prompt_of(api.Task(task_id="t", messages_json=raw), Tokenizer(MODEL_DIR), CHAT, "task 't'")


def test_what_is_far_too_long_is_refused_unread() -> None:
    with pytest.raises(InvalidInput, match=r"task 't': messages: the prompt has [\d,]+ characters, and the model's"):
        prompt_of(api.Task(task_id="t", messages_json="[" * 100_000), Tokenizer(MODEL_DIR), CHAT, "task 't'")


@pytest.mark.parametrize("value", [b"x", {1}, object(), float("nan"), 10**5000], ids=lambda value: type(value).__name__)
def test_values_that_no_json_has_are_named(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"'messages\[0\].a\[0\]' cannot be written as JSON, got "):
        Task("t", messages=[user(a=[value])])


def test_names_of_keys_must_be_text() -> None:
    with pytest.raises(InvalidInput, match=r"'a key of messages\[0\].a' must be text, got a number"):
        Task("t", messages=[user(a={1: "x"})])


@pytest.mark.parametrize(
    ("message", "plain"),
    [
        (user(name=None, tool_calls=None), user()),
        (user(tool_calls=[]), user()),
        (calling(), calling(content="")),
        (calling(content=None), calling(content="")),
        (
            calling(content="", tool_calls=[{**CALL, "id": None, "function": {**CALL["function"], "strict": None}}]),
            calling(content=""),
        ),
        (user(a=[None, {"b": None, "c": [[{"d": None}]]}]), user(a=[None, {"c": [[{}]]}])),
        (user(empty=[], zero=0, no=False, text=""), user(empty=[], zero=0, no=False, text="")),
    ],
)
def test_null_keys_are_absent_keys_at_any_depth(message: dict[str, Any], plain: dict[str, Any]) -> None:
    before = json.dumps(message)
    assert Task("t", messages=[message]).messages == [plain]
    assert json.dumps(message) == before


def test_keys_that_parquet_gives_to_all_messages_are_those_of_each(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "messages": [user(), calling(content=""), {"role": "tool", "content": "1", "name": "add"}, user()]},
        {"id": "b", "messages": [user(name="Ann")]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "tasks.parquet")
    assert "null" in json.dumps(pq.read_table(tmp_path / "tasks.parquet").to_pylist())
    assert [task.messages for task in read_tasks(tmp_path / "tasks.parquet")] == [row["messages"] for row in rows]


def test_a_key_that_a_table_leaves_open_is_absent() -> None:
    nothing = float("nan")
    row = {"messages": np.array([{**user(), "name": nothing, "a": {"b": nothing}}, user(name="Ann")], dtype=object)}
    assert task_from(row, "t").messages == [user(a={}), user(name="Ann")]
