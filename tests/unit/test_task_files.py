"""Task files: several at once, arrays of objects, and fields under the names that other projects use."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from treeroll.cli.main import app
from treeroll.cli.settings import rollout_settings
from treeroll.cli.taskfile import ScorerNeeds, TaskFile
from treeroll.client.wire import submit_requests
from treeroll.errors import InvalidInput
from treeroll.results.record import RunRecord
from treeroll.tasks import Fields, Task, iter_tasks, read_tasks, task_from

CHAT = [{"role": "user", "content": "hi"}]


def lines(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def ids(source: Any) -> list[str]:
    return [task.id for task in read_tasks(source)]


@pytest.mark.parametrize("name", ["tasks.json", "tasks.jsonl"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n \n"])
def test_an_array_of_objects_is_read(tmp_path: Path, name: str, indent: int | None, start: str) -> None:
    rows = [{"prompt": "x", "answer": 1}, {"id": "b", "prompt": "y"}]
    (tmp_path / name).write_text(start + json.dumps(rows, indent=indent))
    assert read_tasks(tmp_path / name) == [Task("task-1", prompt="x", answer="1"), Task("b", prompt="y")]


@pytest.mark.parametrize(
    "text", ['{"prompt": "x", "answer": %s, "rate": %s}', '[{"prompt": "x", "answer": %s, "rate": %s}]']
)
@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("3.14159265358979323846", "3.14159265358979323846"),
        ("5.0", "5"),
        ("1.10", "1.1"),
        ("1E3", "1000"),
        ("25e-1", "2.5"),
    ],
)
def test_an_answer_has_all_digits_that_were_written(tmp_path: Path, text: str, number: str, answer: str) -> None:
    (path := tmp_path / "tasks.json").write_text(text % (number, number))
    [task] = read_tasks(path)
    assert (task.answer, task.extra) == (answer, {"rate": float(number)})
    assert type(task.extra["rate"]) is float


def test_a_bad_item_of_an_array_is_named_and_can_be_skipped(tmp_path: Path) -> None:
    (path := tmp_path / "tasks.json").write_text('[{"prompt": "x"}, 5, {"prompt": ""}]')
    with pytest.raises(InvalidInput, match=r"tasks\.json item 2: a task must be an object with fields, got a number"):
        read_tasks(path)
    skipped: list[str] = []
    assert len(read_tasks(path, skip_invalid=True, on_skip=lambda error: skipped.append(str(error)))) == 1
    assert [error.rpartition("json ")[2] for error in skipped] == [
        "item 2: a task must be an object with fields, got a number",
        "item 3: 'prompt' is empty",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"prompt": "x"},\n{"prompt"', "begins as a JSON array and is none .* at line 2, column"),
        ('{\n "prompt": "x"\n}', "holds a JSON object over several lines; one object per line, or one array"),
        ('{\n "prompt": "x"\n}\n{\n "prompt": "y"\n}\n', "holds a JSON object over several lines"),
        ('{"data": [\n {"prompt": "x"}\n]}', "holds a JSON object over several lines"),
    ],
)
def test_json_that_is_neither_lines_nor_an_array_is_refused_once(tmp_path: Path, text: str, message: str) -> None:
    (path := tmp_path / "tasks.json").write_text(text)
    with pytest.raises(InvalidInput, match=message):
        read_tasks(path, skip_invalid=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl.gz", b"", "must end in .*; unpack it first"),
        ("t.csv", b"prompt\nx\n", "must end in .*; save it as JSON lines or Parquet"),
        ("t.jsonl", gzip.compress(b'{"prompt": "x"}\n', mtime=0), "is packed by gzip; unpack it first"),
        ("t.json", b"PK\x03\x04", "is a zip archive; unpack it first"),
        ("t.jsonl", b"PAR1", "is Parquet; let its name end in .parquet"),
        ("t.jsonl", '{"prompt": "x"}\n'.encode("utf-16"), "is no UTF-8 but UTF-16 or UTF-32; save it as UTF-8"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        read_tasks(tmp_path / name, skip_invalid=True)


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ('{"prompt": "x", "answer": "5", "answer": "6"}', "answer"),
        ('{"prompt": "x", "prompt": "x"}', "prompt"),
        ('{"messages": [{"role": "user", "content": "x", "content": "y"}]}', "content"),
        ('{"prompt": "x", "reward_model": {"ground_truth": 5, "ground_truth": null}}', "ground_truth"),
        ('{"prompt": "x", "a": 1, "\\u0061": 2}', "a"),
    ],
)
def test_a_row_in_which_a_key_is_there_twice_is_refused_alone(tmp_path: Path, row: str, key: str) -> None:
    (path := tmp_path / "tasks.jsonl").write_text(f'{{"prompt": "w"}}\n{row}\n')
    with pytest.raises(InvalidInput, match=rf"line 2: not usable JSON \(key '{key}' is there twice in one object\)"):
        read_tasks(path)
    assert [task.id for task in read_tasks(path, skip_invalid=True)] == ["task-1"]
    (path := tmp_path / "tasks.json").write_text(f'[{{"prompt": "w"}},\n{row}]')
    with pytest.raises(InvalidInput, match=rf"tasks\.json holds an array that is not usable .*'{key}' is there twice"):
        read_tasks(path)


def test_a_line_that_holds_an_array_does_not_hide_the_others(tmp_path: Path) -> None:
    path = lines(tmp_path / "tasks.jsonl", [1], {"prompt": "x"})
    assert [task.id for task in read_tasks(path, skip_invalid=True)] == ["task-2"]


def test_shards_are_read_in_the_order_of_their_names_and_rows_are_counted_on(tmp_path: Path) -> None:
    lines(tmp_path / "b.jsonl", {"prompt": "3"}, {"id": "x", "prompt": "4"})
    lines(tmp_path / "a.jsonl", {"prompt": "1"}, {"prompt": "2"})
    for about in ("_metadata.jsonl", ".hidden.jsonl", "dataset_infos.json", "README.md"):
        (tmp_path / about).write_text("{}")
    expected = ["task-1", "task-2", "task-3", "x"]
    assert ids(tmp_path) == ids(str(tmp_path / "[ab].jsonl")) == expected
    assert ids([tmp_path / "a.jsonl", tmp_path / "b.jsonl"]) == expected
    assert [task.prompt for task in read_tasks(tmp_path)] == ["1", "2", "3", "4"]


def test_parquet_shards_in_folders_below_are_found_by_a_glob(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"id": [name], "prompt": ["x"]}), tmp_path / name / "train.parquet")
    assert ids(str(tmp_path / "**" / "*.parquet")) == ["one", "two"]
    with pytest.raises(InvalidInput, match=r"holds no file that ends in .* give a glob, such as '.*/\*\*/\*\.parquet'"):
        read_tasks(tmp_path)


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    assert ids(lines(tmp_path / "tasks[1].jsonl", {"id": "a", "prompt": "x"})) == ["a"]


def test_what_goes_wrong_in_a_shard_is_named_with_its_file(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", {"id": "x", "prompt": "1"})
    lines(tmp_path / "b.jsonl", {"prompt": "2"}, {"id": "x", "prompt": "3"})
    with pytest.raises(InvalidInput, match=r"b\.jsonl line 2: id 'x' is taken already by .*a\.jsonl line 1"):
        read_tasks(tmp_path)


def test_a_folder_of_two_kinds_is_refused(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", {"prompt": "1"})
    pq.write_table(pa.table({"prompt": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(InvalidInput, match=r"holds both a\.jsonl and a\.parquet; say which with a glob"):
        read_tasks(tmp_path)


@pytest.mark.parametrize(
    ("row", "fields", "task"),
    [
        ({"prompt": CHAT, "solution": "5"}, Fields(answer="solution"), Task("t", messages=CHAT, answer="5")),
        (
            {
                "data_source": "gsm8k",
                "prompt": CHAT,
                "reward_model": {"style": "rule", "ground_truth": 72.0},
                "extra_info": {"index": 0},
            },
            Fields(answer="reward_model.ground_truth"),
            Task(
                "t",
                messages=CHAT,
                answer="72",
                extra={
                    "data_source": "gsm8k",
                    "reward_model": {"style": "rule", "ground_truth": 72.0},
                    "extra_info": {"index": 0},
                },
            ),
        ),
        ({"question": "1+1?", "answer": "2"}, Fields(prompt="question"), Task("t", prompt="1+1?", answer="2")),
        ({"chat": CHAT, "prompt": "x"}, Fields(prompt="chat"), Task("t", messages=CHAT, extra={"prompt": "x"})),
        ({"prompt": [1, 2]}, Fields(), Task("t", prompt_ids=[1, 2])),
        ({"prompt": "x", "uid": 5.0, "id": 9}, Fields(id="uid"), Task("5", prompt="x", extra={"id": 9})),
        (
            {"prompt": "x", "extra_info": {"index": 7}},
            Fields(id="extra_info.index"),
            Task("7", prompt="x", extra={"extra_info": {"index": 7}}),
        ),
        (
            {"a.b": "dots", "a": {"b": "deep"}},
            Fields(prompt="a.b"),
            Task("t", prompt="dots", extra={"a": {"b": "deep"}}),
        ),
        (
            {"prompt": "x", "answer": "long", "final": "5"},
            Fields(answer="final"),
            Task("t", prompt="x", answer="5", extra={"answer": "long"}),
        ),
    ],
)
def test_prompt_and_answer_are_found_where_they_are(row: dict[str, Any], fields: Fields, task: Task) -> None:
    assert task_from(row, "t", fields) == task


@pytest.mark.parametrize(
    ("row", "fields", "message"),
    [
        ({"prompt": CHAT, "messages": CHAT}, Fields(), "'prompt' and 'messages' are both there"),
        ({"question": "x"}, Fields(prompt="problem"), "field 'problem' is absent or null; this row has 'question'"),
        ({"prompt": "x", "a": {"b": ["5"]}}, Fields(answer="a.b"), "'a.b' must be text or a number, got a list"),
        ({"prompt": ["x"]}, Fields(), "'prompt' must be text, got a list"),
        ({"prompt": "x", "id": "a"}, Fields(id="uid"), "no id: field 'uid' is absent or null"),
        ({"prompt": "x", "uid": None}, Fields(id="uid"), "no id: field 'uid' is absent or null"),
        ({"prompt": "x", "uid": ["a"]}, Fields(id="uid"), "'uid' must be text or a number, got a list"),
    ],
)
def test_a_field_that_is_not_what_it_should_be_is_named(row: dict[str, Any], fields: Fields, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        task_from(row, "t", fields)


def test_an_answer_field_that_no_row_has_is_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "tasks.jsonl", {"prompt": "x", "solution": "5"}, {"prompt": "y", "solution": None})
    assert [task.answer for task in iter_tasks(path, fields=Fields(answer="solution"))] == ["5", None]
    with pytest.raises(InvalidInput, match="no task has a field 'solutoin'"):
        read_tasks(path, answer_field="solutoin")
    options: Any = {"skip_invalid": False, "check_prompt": None, "on_skip": lambda error: None}
    with pytest.raises(InvalidInput, match="no task has a field 'solutoin'"):
        TaskFile.check(path, limit=1, fields=Fields(answer="solutoin"), **options)


def test_a_rollout_takes_several_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, missing = lines(tmp_path / "a.jsonl", {"prompt": "x"}), tmp_path / "b.jsonl"
    assert app.run(["rollout", str(good), str(missing), "--out", str(tmp_path / "o"), "--address", "127.0.0.1:1"]) == 2
    assert f"error: {missing} cannot be read: No such file or directory" in capsys.readouterr().err


def test_a_rollout_is_not_resumed_with_other_fields() -> None:
    record = RunRecord({}, "t.jsonl", "0" * 64, "m", "vllm", None, "r", task_fields={"prompt": None, "answer": None})
    other = replace(record, task_fields={"prompt": None, "answer": "solution"})
    record.check_resumed_by(record, Path("out"))
    with pytest.raises(InvalidInput, match=r'made with tasks\.answer = null, now it is "solution"'):
        record.check_resumed_by(other, Path("out"))


@pytest.mark.parametrize("table", [pd.DataFrame({"prompt": ["x"]}), pl.DataFrame({"prompt": ["x"]})], ids=["pd", "pl"])
def test_a_table_is_no_list_of_tasks(table: Any) -> None:
    with pytest.raises(InvalidInput, match="of a table give its rows"):
        list(submit_requests("r", table, 0))


def test_a_rollout_reads_shards_and_fields_twice_alike(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["x"], "rate": [float("nan")], "solution": [5.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"question": ["y"], "rate": [0.5], "solution": [0.5]}), tmp_path / "b.parquet")
    notes: list[str] = []
    settings = rollout_settings(None, ["tasks.answer=solution"], {"tasks": {"prompt": "question"}}).tasks
    checked = TaskFile.check(
        tmp_path,
        limit=None,
        skip_invalid=False,
        check_prompt=None,
        on_skip=lambda error: None,
        fields=Fields(**settings.model_dump()),
        on_note=notes.append,
    )
    assert notes == ["field 'rate': NaN and other values that mean 'none' count as null"]
    expected = [("task-1", "x", "5"), ("task-2", "y", "0.5")]
    for _ in range(2):
        assert [(task.id, task.prompt, task.answer) for task in checked.tasks()] == expected
    assert len(checked.sha256) == 64


def check_with(path: Path, scorer: str) -> list[str]:
    """What `treeroll rollout --scorer` says of a file, without a model."""
    notes: list[str] = []
    TaskFile.check(
        path,
        limit=None,
        skip_invalid=False,
        check_prompt=None,
        on_skip=lambda error: None,
        on_note=notes.append,
        needs=[ScorerNeeds(scorer)],
    )
    return notes


@pytest.mark.parametrize("scorer", ["math", "math:boxed", "exact", "arith"])
@pytest.mark.parametrize("answer", [None, "", "  ", float("nan")])
def test_a_rollout_whose_scorer_can_make_nothing_of_any_task_is_refused(
    tmp_path: Path, scorer: str, answer: Any
) -> None:
    path = lines(tmp_path / "t.jsonl", *({"prompt": "x", "answer": answer, "ground_truth": 5} for _ in range(3)))
    with pytest.raises(
        InvalidInput, match=rf"scorer '{scorer}' can score none of 3 tasks \(task 'task-1': the task has"
    ):
        check_with(path, scorer)


def test_a_near_miss_of_the_answers_name_is_named(tmp_path: Path) -> None:
    row = {"prompt": "x", "Answer": "5", "Solution": "5", "level": 3, "info": {"ground_truth": "5"}}
    path = lines(tmp_path / "t.jsonl", row)
    with pytest.raises(
        InvalidInput, match=r"its field 'Answer' or 'Solution' or 'info\.ground_truth' may be it: say so with --ans"
    ):
        check_with(path, "math")


def test_a_rollout_says_how_many_tasks_its_scorer_can_make_nothing_of(tmp_path: Path) -> None:
    path = lines(tmp_path / "t.jsonl", {"prompt": "x", "answer": "5"}, {"prompt": "y"}, {"prompt": "z", "answer": ""})
    assert check_with(path, "math") == [
        "scorer 'math' cannot score 2 of 3 tasks; their leaves will have reward_status 'error' "
        "(task 'task-2': the task has no answer)"
    ]
    for scorer in ("client", "regex:x", "python:os.path:join", "http://localhost/score"):
        assert check_with(path, scorer) == []
