"""docs/packed.md does what it says: its blocks run as they stand, one after the other, in one namespace."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

import treeroll
from treeroll.demo import TASKS_FILE
from treeroll.testing.service import local_service

pytest.importorskip("torch")
pytest.importorskip("transformers")

DOC = Path(__file__).parents[2] / "docs" / "packed.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", DOC.read_text(encoding="utf-8"), re.M | re.S)


async def test_the_blocks_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = TASKS_FILE.read_text(encoding="utf-8").splitlines(keepends=True)[:3]
    (tmp_path / "tasks.jsonl").write_text("".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    connect = treeroll.connect
    names: dict[str, Any] = {"__name__": "page"}
    async with local_service() as service:
        service.start_replica("r0")
        monkeypatch.setattr(treeroll, "connect", lambda address: connect(service.address))
        for place, block in enumerate(BLOCKS, 1):
            await asyncio.to_thread(exec, compile(block, f"{DOC.name}, block {place}", "exec"), names)
    assert len(BLOCKS) == 3
    assert names["ratio"].shape == names["logps"].shape
