"""Code blocks of documentation pages, run as they stand against a service for tests."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import treeroll
from treeroll.demo import TASKS_FILE

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> list[str]:
    """The blocks of Python on a page, named by its path below docs/."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


def write_demo_tasks(folder: Path, count: int) -> None:
    """tasks.jsonl, as pages read it: the first tasks of the demo."""
    lines = TASKS_FILE.read_text(encoding="utf-8").splitlines(keepends=True)[:count]
    (folder / "tasks.jsonl").write_text("".join(lines), encoding="utf-8")


def lead_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`treeroll.connect`, whatever address a page names, connects to this one."""
    connect = treeroll.connect
    monkeypatch.setattr(treeroll, "connect", lambda *_, **options: connect(address, **options))


def run_block(code: str, page: str, replaced: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a block and return its names; `replaced` fills in what readers fill in."""
    for name, value in (replaced or {}).items():
        code = code.replace(name, value)
    names: dict[str, Any] = {"__name__": page}
    exec(compile(code, page, "exec"), names)  # noqa: S102 - our own pages
    return names
