"""What a service stands on: starts that are given up at once, and logs that stay when something fails."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from treeroll import foundation
from treeroll.errors import EngineError, Unavailable
from treeroll.foundation import in_thread, running_ray
from treeroll.generator import ray_local
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.ray_config import RayConfig


async def test_work_in_a_thread_gives_its_result_or_its_error() -> None:
    assert await in_thread(lambda cancelled: 7) == 7

    def fail(cancelled: threading.Event) -> None:
        raise Unavailable("no")

    with pytest.raises(Unavailable, match="no"):
        await in_thread(fail)


async def test_work_that_is_cancelled_is_told_and_waited_for() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(cancelled: threading.Event) -> None:
        begun.set()
        cancelled.wait()
        ended.set()

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_work_that_does_not_heed_it_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foundation, "GIVE_UP_S", 0.01)
    begun, release = threading.Event(), threading.Event()

    def work(cancelled: threading.Event) -> None:
        begun.set()
        release.wait()

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()


class NoRay(ray_local.LocalRay):
    """Has directories and no cluster."""

    def start(self, timeout_s: float = 0.0, cancelled: threading.Event | None = None) -> None:
        self.logs.mkdir()
        (self.logs / "r0-1.log").write_text("the last words\n")


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_local, "LocalRay", NoRay)
    monkeypatch.setattr(ray_local, "SOCKET_ROOM", None)  # the directories of tests have long paths


@pytest.mark.parametrize("grouped", [False, True])
async def test_logs_stay_where_the_error_says_when_something_fails(tmp_path: Path, grouped: bool) -> None:
    error = EngineError("replica r0 cannot start")
    with pytest.raises((EngineError, BaseExceptionGroup)):
        async with running_ray(GeneratorConfig(), RayConfig(), tmp_path):
            raise BaseExceptionGroup("of tasks", [error]) if grouped else error
    [note] = error.__notes__
    [kept] = os.listdir(tmp_path)
    assert note == f"logs: {tmp_path / kept}"
    assert (tmp_path / kept / "treeroll" / "r0-1.log").read_text() == "the last words\n"


async def test_nothing_stays_after_a_clean_end(tmp_path: Path) -> None:
    async with running_ray(GeneratorConfig(), RayConfig(), tmp_path) as local:
        assert (local.logs / "r0-1.log").exists()
    assert os.listdir(tmp_path) == []


async def test_nothing_stays_of_a_start_that_was_given_up(tmp_path: Path) -> None:
    with pytest.raises(asyncio.CancelledError):
        async with running_ray(GeneratorConfig(), RayConfig(), tmp_path):
            raise asyncio.CancelledError
    assert os.listdir(tmp_path) == []


async def test_a_start_that_is_given_up_while_ray_is_imported_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(name: str) -> None:
        begun.set()
        release.wait(300)

    monkeypatch.setattr(foundation, "import_module", slow)
    monkeypatch.setattr(foundation, "GIVE_UP_S", 0.01)

    async def start() -> None:
        async with running_ray(GeneratorConfig(), RayConfig(), tmp_path):
            pass

    task = asyncio.create_task(start())
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    assert os.listdir(tmp_path) == []
