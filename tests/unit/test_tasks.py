"""Task files: what is accepted, and the sentence for everything that is not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from treeroll.errors import InvalidInput
from treeroll.tasks import Task, iter_tasks, read_tasks, task_from


def write(path: Path, *rows: Any) -> Path:
    """A JSON lines file; rows that are text or bytes are written as they are."""
    lines = [
        row if isinstance(row, bytes) else (row if isinstance(row, str) else json.dumps(row)).encode() for row in rows
    ]
    path.write_bytes(b"\n".join(lines))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_tasks(path)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_all_prompt_forms_and_everything_else_as_extra(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "hi"}]
    tasks = read_tasks(
        write(
            tmp_path / "tasks.jsonl",
            {"id": "a", "prompt": "1+1", "answer": 2, "level": 3},
            {"id": 7, "messages": chat, "answer": None, "prompt": None},
            "",
            {"prompt_ids": [1, 2], "answer": 0.5},
        )
    )
    assert tasks == [
        Task("a", prompt="1+1", answer="2", extra={"level": 3}),
        Task("7", messages=chat),
        Task("task-4", prompt_ids=[1, 2], answer="0.5"),
    ]


def test_parquet_and_json_lines_give_the_same_tasks(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "prompt": "1+1", "messages": None, "answer": "2", "level": 1},
        {"id": None, "prompt": None, "messages": [{"role": "user", "content": "x"}], "answer": None, "level": 2},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "tasks.parquet")
    assert read_tasks(tmp_path / "tasks.parquet") == read_tasks(write(tmp_path / "tasks.jsonl", *rows))


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ('{"id": }', "not valid JSON (Expecting value at column 8)"),
        (b'{"prompt": "\xff"}', "not valid UTF-8 (byte 13)"),
        ([1], "a task must be an object with fields, got a list"),
        ({"id": "b"}, "no prompt; give exactly one of 'prompt', 'messages' and 'prompt_ids'"),
        (
            {"prompt": "x", "prompt_ids": [1]},
            "'prompt' and 'prompt_ids' are both there; give exactly one of 'prompt', 'messages' and 'prompt_ids'",
        ),
        ({"prompt": ""}, "'prompt' is empty"),
        ({"prompt": 5}, "'prompt' must be text, got a number"),
        ({"prompt": []}, "'prompt' must be text, got a list; chat messages belong under 'messages'"),
        (
            {"question": "x", "conversations": [], "level": None},
            "no prompt; give exactly one of 'prompt', 'messages' and 'prompt_ids', or say which field it is "
            "(--prompt-field, prompt_field=); this row has 'question', 'conversations'",
        ),
        ('{"prompt": "\\ud800"}', "'prompt' holds half a surrogate pair, which is no valid Unicode text"),
        ({"prompt_ids": []}, "'prompt_ids' is empty"),
        ({"prompt_ids": [1, -1]}, "'prompt_ids[1]' must be a token id (0 or more), got -1"),
        ({"prompt_ids": [True]}, "'prompt_ids[0]' must be a token id (0 or more), got True"),
        ({"prompt_ids": [2**31]}, "'prompt_ids[0]' must be a token id (0 or more), got 2147483648"),
        ({"prompt": "x", "id": ""}, "'id' is empty"),
        ({"prompt": "x", "id": "y" * 257}, "'id' has 257 characters, at most 256 are allowed"),
        ({"prompt": "x", "id": [1]}, "'id' must be text or a number, got a list"),
        ({"prompt": "x", "answer": ["5"]}, "'answer' must be text or a number, got a list"),
        ({"prompt": "x", "answer": True}, "'answer' must be text or a number, got a boolean"),
        (
            '{"prompt": "x", "answer": Infinity}',
            "'answer' must be finite, got inf",
        ),
        ('{"prompt": "x", "answer": 1E-99999999}', "'answer' is a number with too many digits; write it as text"),
        ({"prompt": "x", "id": "a"}, "id 'a' is taken already by line 1"),
    ],
)
def test_a_bad_line_is_named_in_one_sentence_and_can_be_skipped(tmp_path: Path, row: Any, sentence: str) -> None:
    path = write(tmp_path / "tasks.jsonl", {"id": "a", "prompt": "x"}, row, {"id": "c", "prompt": "z"})
    assert refusal(path) == f"tasks.jsonl line 2: {sentence}"
    skipped: list[InvalidInput] = []
    tasks = read_tasks(path, skip_invalid=True, on_skip=skipped.append)
    assert [task.id for task in tasks] == ["a", "c"]
    assert [str(error) for error in skipped] == [f"{path} line 2: {sentence}"]


def test_skipping_is_never_silent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_tasks(write(tmp_path / "tasks.jsonl", {"prompt": "x"}, "oops"), skip_invalid=True)
    assert "line 2: not valid JSON" in caplog.text


def test_files_that_are_none(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.jsonl") == "no.jsonl cannot be read: No such file or directory"
    assert refusal(tmp_path / "no.parquet") == "no.parquet cannot be read: No such file or directory"
    assert refusal(write(tmp_path / "tasks.csv")).startswith("tasks.csv must end in .json, .jsonl")
    assert refusal(write(tmp_path / "empty.jsonl", "", " ")) == "empty.jsonl holds no task"
    assert refusal(write(tmp_path / "text.parquet", "no parquet")).startswith(
        "text.parquet is not a readable Parquet file"
    )
    (tmp_path / "dir").mkdir()
    assert refusal(tmp_path / "dir").startswith("dir holds no file that ends in .jsonl")
    assert refusal(tmp_path / "*.arrow") == "*.arrow matches no file"
    with pytest.raises(InvalidInput, match="holds no valid task"):
        read_tasks(write(tmp_path / "bad.jsonl", "oops"), skip_invalid=True, on_skip=lambda _: None)


def test_a_bad_parquet_row_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["x", None]}), tmp_path / "tasks.parquet")
    assert refusal(tmp_path / "tasks.parquet").startswith("tasks.parquet row 2: no prompt")


def test_limit_stops_reading_before_a_later_bad_line(tmp_path: Path) -> None:
    path = write(tmp_path / "tasks.jsonl", {"prompt": "x"}, {"prompt": "y"}, "oops")
    assert [task.id for task in read_tasks(path, limit=2)] == ["task-1", "task-2"]
    with pytest.raises(InvalidInput, match="limit must be 1 or more"):
        read_tasks(path, limit=0)


def test_iter_tasks_is_lazy(tmp_path: Path) -> None:
    tasks = iter_tasks(write(tmp_path / "tasks.jsonl", {"prompt": "x"}, "oops"))
    assert next(tasks).prompt == "x"
    with pytest.raises(InvalidInput, match="line 2"):
        next(tasks)


def test_numpy_prompt_ids_are_taken() -> None:
    assert task_from({"prompt_ids": np.array([1, 2])}, "t").prompt_ids == [1, 2]


def test_the_demo_tasks_are_valid() -> None:
    import treeroll

    assert len(read_tasks(Path(treeroll.__file__).parent / "demo" / "tasks.jsonl")) > 10
