"""Starting Ray on a machine too busy for its time limit. The real thing: tests/integration/test_supervisor.py."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray

from treeroll.errors import Unavailable
from treeroll.generator import ray_local

TIMED_OUT = "The current node timed out during startup. This could happen because ..."
CHILD = "import time; print(flush=True); time.sleep(600)"


class BusyMachine:
    """Stands for ray.init: the first `failures` starts time out and leave a process and files behind, as Ray's do."""

    def __init__(self, failures: int, message: str = TIMED_OUT) -> None:
        self.failures = failures
        self.message = message
        self.directories: list[Path] = []
        self.left: list[subprocess.Popen[bytes]] = []

    def init(self, *, _temp_dir: str, **_: Any) -> None:
        self.directories.append(Path(_temp_dir))
        if len(self.directories) > self.failures:
            return
        child = subprocess.Popen([sys.executable, "-c", CHILD, f"--session-dir={_temp_dir}"], stdout=subprocess.PIPE)
        assert child.stdout is not None
        with child.stdout as started:
            started.readline()
        self.left.append(child)
        raise Exception(self.message)

    def alive(self) -> list[int]:
        """Which of the processes left behind still run."""
        return [child.pid for child in self.left if child.poll() is None]


def busy(monkeypatch: pytest.MonkeyPatch, failures: int, message: str = TIMED_OUT) -> BusyMachine:
    machine = BusyMachine(failures, message)
    monkeypatch.setattr(ray, "init", machine.init)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(ray_local, "_temporary", [])
    return machine


def test_a_start_that_timed_out_is_tried_again_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = busy(monkeypatch, failures=1)
    ray_local.start_local_ray(2)
    assert len(machine.directories) == 2
    assert not machine.alive()
    assert not machine.directories[0].exists()
    machine.directories[1].rmdir()


def test_a_machine_that_stays_too_busy_is_reported_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = busy(monkeypatch, failures=5)
    with pytest.raises(Unavailable, match=r"Ray did not start .*overloaded"):
        ray_local.start_local_ray(2)
    assert not machine.alive()
    assert len(machine.left) == 2
    assert not any(directory.exists() for directory in machine.directories)


def test_another_failure_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = busy(monkeypatch, failures=5, message="no such resource")
    with pytest.raises(Exception, match="no such resource"):
        ray_local.start_local_ray(2)
    assert len(machine.directories) == 1
    assert not machine.alive()
