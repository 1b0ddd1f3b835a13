"""docs/trainer-loop.md does what it says: its blocks run as they stand, one after the other, against one service."""

import asyncio
import re
import runpy
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

import treeroll
from treeroll.demo import TASKS_FILE
from treeroll.testing.service import local_service

DOC = Path(__file__).parents[2] / "docs" / "trainer-loop.md"
TEXTS = re.findall(r"^```python\n(.*?)^```", DOC.read_text(encoding="utf-8"), re.M | re.S)
SCRIPT = "# train.py\n"
TEST = "def test_"
BLOCKS = [text for text in TEXTS if not text.startswith(SCRIPT) and TEST not in text]


@pytest.fixture(autouse=True)
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = TASKS_FILE.read_text(encoding="utf-8").splitlines(keepends=True)[:6]
    (tmp_path / "tasks.jsonl").write_text("".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)


async def test_the_blocks_of_the_page_run(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = treeroll.connect
    async with local_service() as service:
        service.start_replica("r0")
        monkeypatch.setattr(treeroll, "connect", lambda address: connect(service.address))
        for place, block in enumerate(BLOCKS, 1):
            code = compile(block, f"{DOC.name}, block {place}", "exec")
            await asyncio.to_thread(exec, code, {"__name__": f"block {place}"})
        runs = await asyncio.to_thread(lambda: connect(service.address).status().run_ids)
        assert {"math", "own-rewards"} <= set(runs)


def test_the_test_of_the_page_passes(tmp_path: Path) -> None:
    (block,) = (text for text in TEXTS if TEST in text)
    (tmp_path / "page.py").write_text(block, encoding="utf-8")
    runpy.run_path(str(tmp_path / "page.py"))["test_my_trainer_takes_every_task"]()


@pytest.mark.slow
async def test_the_script_of_the_page_trains_from_workers(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (text,) = (text for text in TEXTS if text.startswith(SCRIPT))
    async with local_service() as service:
        service.start_replica("r0")
        script = tmp_path / "train.py"
        script.write_text(text.replace("localhost:7070", service.address), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(sys.executable, script, stdout=PIPE, stderr=PIPE)
        stdout, stderr = await process.communicate()
        assert len(stdout.splitlines()) == 6, stderr.decode()
        service_run = service.coordinator.state.runs["workers"]
        assert (await service.store.group_state("workers", "loader")).acknowledged == len(service_run.tasks) == 6
