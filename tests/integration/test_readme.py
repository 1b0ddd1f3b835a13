"""The trainer of the README trains."""

import re
from pathlib import Path

import pytest

import treeroll
from treeroll.demo import TASKS_FILE
from treeroll.testing.service import running_service

README = Path(__file__).parents[2] / "README.md"


def test_the_trainer_of_the_readme_gets_batches_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)
    lines = TASKS_FILE.read_text(encoding="utf-8").splitlines(keepends=True)[:3]
    (tmp_path / "tasks.jsonl").write_text("".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    connect, values = treeroll.connect, {}
    with running_service() as address:
        monkeypatch.setattr(treeroll, "connect", lambda _: connect(address))
        exec(compile(block, README.name, "exec"), values)  # noqa: S102 - that is the test
    assert set(values["tensors"]) >= {"prompt_ids", "completion_ids", "sampling_per_token_logps", "advantages"}
    assert len(values["batch"].trees) == 3


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
