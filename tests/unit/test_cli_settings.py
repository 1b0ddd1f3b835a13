"""Where a rollout's settings and tasks come from, and what wins."""

import codecs
import json
import os
import subprocess
import sys
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


SUFFIXES = [".yaml", ".yml", ".toml", ".json"]
TEXTS = {
    ".yaml": "run:\n  # café\n  scorer: 'regex:é(\\d+)'\n",
    ".yml": "run:\n  scorer: 'regex:é(\\d+)'\n",
    ".toml": "# café\n[run]\nscorer = 'regex:é(\\d+)'\n",
    ".json": '{"run": {\n"scorer": "regex:é(\\\\d+)"}}\n',
}


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["unix", "dos"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_settings_are_utf8(tmp_path: Path, suffix: str, ends: str, mark: bytes) -> None:
    file = tmp_path / f"c{suffix}"
    file.write_bytes(mark + TEXTS[suffix].replace("\n", ends).encode())
    assert rollout_settings(file, [], {}).run.scorer == "regex:é(\\d+)"


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8", "xx_XX.ISO-8859-1"])
@pytest.mark.parametrize("utf8_mode", ["0", "1"])
def test_settings_are_utf8_in_every_locale(tmp_path: Path, locale: str, utf8_mode: str) -> None:
    code = [
        "import sys",
        "from pathlib import Path",
        "from treeroll.cli.settings import read_settings",
        "for name in sys.argv[1:]:",
        "    assert read_settings(Path(name))['run']['scorer'][6] == chr(233)",
    ]
    names = []
    for suffix in SUFFIXES:
        (tmp_path / f"c{suffix}").write_text(TEXTS[suffix], encoding="utf-8")
        names.append(str(tmp_path / f"c{suffix}"))
    environment = os.environ | {"LC_ALL": locale, "PYTHONUTF8": utf8_mode, "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", "\n".join(code), *names], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("encoding", "sentence"),
    [
        ("latin-1", r"is not valid: byte 0xe9 in line \d is not UTF-8; save it as UTF-8"),
        ("cp1252", r"byte 0xe9 in line \d is not UTF-8"),
        ("utf-16", "it is UTF-16 from line 1 on; save it as UTF-8"),
    ],
)
def test_settings_of_another_encoding_are_refused_by_file_and_line(
    tmp_path: Path, suffix: str, encoding: str, sentence: str
) -> None:
    file = tmp_path / f"c{suffix}"
    file.write_bytes(TEXTS[suffix].encode(encoding))
    with pytest.raises(InvalidInput, match=rf"configuration file .*c\{suffix} .*{sentence}"):
        rollout_settings(file, [], {})


def test_the_line_of_a_byte_that_is_not_utf8_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(b"run:\n  # caf\xe9\n  leaves: 4\n")
    with pytest.raises(InvalidInput, match="byte 0xe9 in line 2 is not UTF-8"):
        rollout_settings(file, [], {})


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("c.yaml", "run:\n  leaves: 4\n  seed: 1\n  leaves: 8\n", "key 'leaves' in line 4 is there twice"),
        ("c.yaml", "run: {leaves: 4}\nrun: {seed: 1}\n", "key 'run' in line 2 is there twice"),
        ("c.yaml", "run: {branch: [{a: 1, a: 2}]}", "key 'a' in line 1"),
        ("c.yaml", "run:\n  recipe: fl\x07at\n", r"character U\+0007 in line 2 is not allowed in YAML"),
        ("c.json", '{"run": {"leaves": 4, "leaves": 8}}', "key 'leaves' is there twice"),
        ("c.toml", "[run]\nleaves = 4\nleaves = 8\n", r"is not valid: .*line 3"),
        ("c.json", '{"run":\n {"leaves": }}', "is not valid: .*line 2"),
        ("c.yaml", "run:\n  leaves: 4\n  - 5\n", "is not valid: .*line 3"),
        ("c.ini", "run", r"must end in \.yaml, \.yml, \.toml or \.json"),
    ],
)
def test_what_no_parser_should_take_is_refused(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=sentence):
        rollout_settings(file, [], {})


def test_a_yaml_file_may_be_all_comments_and_merge_anchors(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("# nothing yet\n")
    assert layered(file, [], {}) == {}
    file.write_text("run: {branch: &a {x: 1}, prune: {<<: *a, y: 2}}\n")
    assert layered(file, [], {})["run"]["prune"] == {"x": 1, "y": 2}


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
