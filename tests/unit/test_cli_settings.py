"""Where a rollout's settings and tasks come from, and what wins."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from treeroll.cli.settings import layered, rollout_settings
from treeroll.cli.taskfile import TaskFile, prompt_check
from treeroll.coordinator.prompts import ChatSettings
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.tokenizer import Tokenizer


def test_flags_win_over_set_and_set_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("run: {recipe: flat, leaves: 2, seed: 7, branch: {a: 1}}\ngenerator: {slots: 3, replicas: 4}\n")
    flags = {"run": {"leaves": 5, "seed": None}, "generator": {"replicas": None}}
    values = layered(file, ["run.leaves=4", "run.temperature=0.5", "generator.slots=9"], flags)
    assert values["run"] == {"recipe": "flat", "leaves": 5, "seed": 7, "temperature": 0.5, "branch": {"a": 1}}
    assert values["generator"] == {"slots": 9, "replicas": 4}
    settings = rollout_settings(file, [], flags)
    assert (settings.run.recipe, settings.run.leaves, settings.service.keys()) == ("flat", 5, {"generator"})


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_other_formats_are_read(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"c{suffix}"
    file.write_text('{"run": {"leaves": 3}}' if suffix == ".json" else "[run]\nleaves = 3\n")
    assert rollout_settings(file, [], {}).run.leaves == 3


@pytest.mark.parametrize(
    ("text", "sets", "message"),
    [
        ("colour: {}", [], "there is no configuration section 'colour'; the sections are run, generator"),
        ("run: 5", [], "configuration section 'run' must hold keys and values, got 5"),
        ("run: {leafs: 5}", [], "section 'run': unknown key 'leafs'; known keys are"),
        ("run: [", [], r"c\.yaml is not valid"),
        ("- 1", [], "must hold a mapping at its top"),
        ("{}", ["run.seed.deep=1", "run.seed=1", "run.seed.deep=1"], "'seed' is not a section"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, sets: list[str], message: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=message):
        rollout_settings(file, sets, {})


def check(path: Path, **changes: Any) -> TaskFile:
    options: dict[str, Any] = {"limit": None, "skip_invalid": False, "on_skip": lambda error: None}
    options["check_prompt"] = prompt_check(Tokenizer.load(MODEL_DIR), CHAT)
    return TaskFile.check(path, **{**options, **changes})


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"t{i}", "prompt": f"Compute {i}+1.\n", "level": i} for i in range(count)]


CHAT = ChatSettings({}, date(2026, 2, 3))
LONG = {"id": "long", "prompt": "1+" * 600}


def test_tasks_are_read_again_as_they_were_checked(tmp_path: Path) -> None:
    file = check(write(tmp_path / "t.jsonl", *rows(5)), limit=3)
    assert file.count == 3
    assert [task.id for task in file.tasks()] == [task.id for task in file.tasks()] == ["t0", "t1", "t2"]


def test_skipping_leaves_out_bad_tasks_and_names_each(tmp_path: Path) -> None:
    skipped: list[str] = []
    path = write(tmp_path / "t.jsonl", rows(1)[0], "{bad", LONG, {"id": "x"}, *rows(3)[1:])
    file = check(path, skip_invalid=True, on_skip=lambda error: skipped.append(str(error)), limit=2)
    assert [task.id for task in file.tasks()] == ["t0", "t1"]
    assert [words in error for words, error in zip(("line 2", "task 'long'", "line 4"), skipped, strict=True)] == [
        True
    ] * 3


def test_parquet_chat_and_ids_are_checked_too(tmp_path: Path) -> None:
    columns = {"id": ["a", "b"], "prompt": ["Compute 1+1.\n", None], "prompt_ids": [None, [5, 6]]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert check(tmp_path / "t.parquet").count == 2
    chat = {"id": "c", "messages": [{"role": "user", "content": "Compute 1+1."}]}
    assert check(write(tmp_path / "t.jsonl", chat)).count == 1


def test_without_a_model_prompts_are_left_to_the_service(tmp_path: Path) -> None:
    assert check(write(tmp_path / "t.jsonl", LONG), check_prompt=None).count == 1


@pytest.mark.parametrize(
    ("lines", "changes", "message"),
    [
        ([LONG], {}, "task 'long': the prompt has 1200 tokens, the model's context is 1024"),
        ([LONG], {"skip_invalid": True}, "holds no task that can run"),
        (rows(2), {"limit": 0}, "--limit must be 1 or more, got 0"),
        (rows(1), {"check_prompt": prompt_check(Tokenizer.load(MODEL_DIR, 10), CHAT)}, "the model's context is 10"),
    ],
)
def test_tasks_that_cannot_run_are_refused(tmp_path: Path, lines: Any, changes: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check(write(tmp_path / "t.jsonl", *lines), **changes)
