"""docs/trainer-loop.md does what it says: its blocks run as they stand, one after the other, against one service."""

import asyncio
import re
from pathlib import Path

import pytest
from tests.support.local_service import local_service

import treeroll
from treeroll.demo import TASKS_FILE

DOC = Path(__file__).parents[2] / "docs" / "trainer-loop.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", DOC.read_text(encoding="utf-8"), re.M | re.S)


async def test_the_blocks_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = TASKS_FILE.read_text(encoding="utf-8").splitlines(keepends=True)[:6]
    (tmp_path / "tasks.jsonl").write_text("".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    connect = treeroll.connect
    async with local_service() as service:
        service.start_replica("r0")
        monkeypatch.setattr(treeroll, "connect", lambda address: connect(service.address))
        for place, block in enumerate(BLOCKS, 1):
            code = compile(block, f"{DOC.name}, block {place}", "exec")
            await asyncio.to_thread(exec, code, {"__name__": f"block {place}"})
        runs = await asyncio.to_thread(lambda: connect(service.address).status().run_ids)
        assert {"math", "own-rewards"} <= set(runs)
