"""The real private Ray: a part of it that dies while it starts, and what it leaves."""

import contextlib
import logging
import os
import signal
import threading
from pathlib import Path

import pytest
import ray
from tests.support.eventually import eventually_sync
from tests.support.processes import alive, descendants

from treeroll.generator.ray_local import LocalRay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def kill_first(word: str, killed: list[int]) -> None:
    """Kill the first process below this one whose command line has the word."""

    def found() -> list[int]:
        return [pid for pid, line in descendants(os.getpid()).items() if f"/{word} " in line]

    with contextlib.suppress(AssertionError):
        eventually_sync(found, timeout_s=60)
        for pid in found()[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)


def test_a_part_of_ray_that_dies_while_it_starts_is_seen_and_ray_starts_again_and_leaves_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed: list[int] = []
    killer = threading.Thread(target=kill_first, args=("gcs_server", killed))
    killer.start()
    local = LocalRay(1, tmp_path)
    with caplog.at_level(logging.WARNING, "treeroll.generator.ray_local"):
        local.start()
    killer.join()
    assert len(killed) == 1
    assert "trying again: its gcs_server was killed by SIGKILL" in caplog.text
    assert ray.is_initialized()
    family = set(descendants(os.getpid()))
    local.stop()
    assert alive(family & descendants(os.getpid()).keys()) == {}
    assert not local.scratch.path.exists()
