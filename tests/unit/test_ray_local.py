"""Starting Ray: tried again where that may help, given up where not or on request, and nothing left of it.

A few lines of Python stand in for Ray's head. The real one: tests/e2e/test_serve.py.
"""

import os
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from treeroll.errors import Unavailable
from treeroll.generator import ray_local
from treeroll.generator.ray_local import LocalRay, StartCancelled

# The address appears whole, as the real head writes it: a reader looks as soon as there is a file.
UP = """
import pathlib, sys, time
part = pathlib.Path(sys.argv[1], "address.part")
part.write_text("127.0.0.1:1")
part.rename(part.with_name("address"))
time.sleep(600)
"""
SLOW = "import time; time.sleep(600)"


def says(*lines: str) -> str:
    """A head that leaves a child behind, says something and ends."""
    return (
        "import subprocess, sys; subprocess.Popen(['sleep', '600']); "
        f"[print(line, file=sys.stderr) for line in {lines}]; sys.exit(1)"
    )


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; nothing of one that has ended, of which others may have left a zombie."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:  # ZombieProcess is one
        return []


class Heads:
    """What the heads are, one after another; the last one stays."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *scripts: str) -> None:
        self.connected: list[str] = []
        self.tries = tmp_path / "tries"
        files = [tmp_path / f"head{number}.py" for number in range(len(scripts))]
        for file, script in zip(files, scripts, strict=True):
            file.write_text(script)
        chooser = (
            f"import pathlib, runpy; tries = pathlib.Path({str(self.tries)!r}); tries.open('a').write('x'); "
            f"files = {[str(file) for file in files]}; "
            "runpy.run_path(files[min(len(tries.read_text()), len(files)) - 1], run_name='__main__')"
        )
        self.local = LocalRay(2, tmp_path, (sys.executable, "-c", chooser))
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        monkeypatch.setattr(ray_local.ray, "init", self._init)
        monkeypatch.setattr(ray_local.ray, "shutdown", lambda: None)

    def _init(self, *, address: str, **_: Any) -> None:
        self.connected.append(address)

    def stop_and_look(self) -> None:
        """AssertionError if a process or a file of it is left."""
        self.local.stop()
        assert not self.local.scratch.path.exists()
        assert not [child for child in psutil.Process().children(recursive=True) if "600" in command_of(child)]


@pytest.mark.parametrize(
    "passing", ["its raylet ended with exit code 1: Timed out waiting for file x", "Address already in use"]
)
def test_what_fails_in_passing_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passing: str) -> None:
    heads = Heads(tmp_path, monkeypatch, says(passing), says(passing), UP)
    heads.local.start(300)
    assert heads.connected == ["127.0.0.1:1"]
    assert len(heads.tries.read_text()) == 3
    heads.stop_and_look()


def test_a_head_that_dies_while_we_connect_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connecting = tmp_path / "connecting"
    until = f"while not pathlib.Path({str(connecting)!r}).exists(): time.sleep(0.01)"
    dying = UP.replace("time.sleep(600)", f"{until}\nsys.exit('its raylet was killed by SIGKILL')")
    heads = Heads(tmp_path, monkeypatch, dying, UP)
    connect = ray_local.ray.init

    def init(**how: Any) -> None:
        connect(**how)
        connecting.touch()
        if len(heads.connected) == 1:
            assert heads.local._head is not None
            heads.local._head.wait()
            raise RuntimeError("no answer")

    monkeypatch.setattr(ray_local.ray, "init", init)
    heads.local.start(300)
    assert len(heads.connected) == 2
    heads.stop_and_look()


def test_what_no_other_try_will_change_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = Heads(tmp_path, monkeypatch, says("Traceback", "its raylet ended with exit code 1: no space left"), UP)
    with pytest.raises(Unavailable, match=r"Ray did not start, after \d+ s: its raylet ended .*: no space left"):
        heads.local.start(300)
    assert heads.tries.read_text() == "x"
    assert "Traceback" in (heads.local.logs / "head.log").read_text()
    heads.stop_and_look()


def test_all_tries_together_have_one_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = Heads(tmp_path, monkeypatch, says("Timed out"), SLOW)
    with pytest.raises(Unavailable, match=r"Ray did not start, after \d+ s: (Timed out|.*overloaded)"):
        heads.local.start(1)
    heads.stop_and_look()


def test_a_start_is_given_up_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = Heads(tmp_path, monkeypatch, SLOW)
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(StartCancelled):
        heads.local.start(300, cancelled)
    heads.stop_and_look()


def test_what_a_launcher_or_another_cluster_has_set_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ray_local.FOREIGN:
        monkeypatch.setenv(name, "of another cluster")
    seen = tmp_path / "seen"
    heads = Heads(tmp_path, monkeypatch, f"import os; open({str(seen)!r}, 'w').write(str(list(os.environ)))\n{UP}")
    heads.local.start(300)
    assert set(ray_local.FOREIGN).isdisjoint(os.environ)
    assert not [name for name in ray_local.FOREIGN if f"'{name}'" in seen.read_text()]
    heads.stop_and_look()


def test_ray_makes_no_environment_of_the_directory_in_which_uv_run_started_us() -> None:
    from ray._private import ray_constants

    assert not ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV
