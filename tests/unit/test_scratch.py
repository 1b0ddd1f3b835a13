"""Temporary directories: private, removed with their owner or after it, short where sockets need it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from treeroll.errors import Unavailable
from treeroll.scratch import KEPT_LOGS, LONGEST_SOCKET_PATH, SHORT_PLACE, Scratch

OWNER = """
import sys, time
from pathlib import Path
from treeroll.scratch import Scratch
scratch = Scratch(Path(sys.argv[1]))
(scratch.path / "data").write_text("x")
print(scratch.path, flush=True)
time.sleep(600)
"""


def test_it_is_private_and_goes_with_its_owner(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        (scratch.path / "data").mkdir()
        assert scratch.path.parent == tmp_path
        assert scratch.path.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []
    scratch.close()


def test_the_next_one_removes_those_of_dead_owners_and_no_others(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout as said:
        path = Path(said.readline().strip())
    (tmp_path / "treeroll-of-somebody-else").mkdir()
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "owner").write_text("")
    (tmp_path / "treeroll-link").symlink_to(target)
    with Scratch(tmp_path):
        assert (path / "data").exists()  # its owner lives
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with Scratch(tmp_path) as scratch:
        left = {"treeroll-of-somebody-else", "treeroll-link", "elsewhere", scratch.path.name}
        assert {entry.name for entry in tmp_path.iterdir()} == left
        assert (target / "owner").exists()


def test_one_that_an_heir_still_uses_stays(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    heir = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(scratch.lock,))
    os.close(scratch.lock)
    with Scratch(tmp_path):
        assert scratch.path.exists()
    heir.communicate()
    with Scratch(tmp_path):
        assert not scratch.path.exists()


def test_tmpdir_is_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with Scratch() as scratch:
        assert scratch.path.parent == tmp_path


def test_sockets_get_a_short_path_and_all_else_stays_where_it_was_wanted(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60)
    deep.mkdir()
    with Scratch(deep) as data, Scratch(deep, room=60) as sockets:
        assert data.path.parent == deep
        assert sockets.path.parent == SHORT_PLACE
        assert len(os.fsencode(sockets.path / ("s" * 60))) <= LONGEST_SOCKET_PATH


@pytest.mark.parametrize("broken", ["missing", "a file"])
def test_a_place_that_cannot_be_used_is_named_with_the_ways_out(tmp_path: Path, broken: str) -> None:
    place = tmp_path / broken
    if broken == "a file":
        place.write_text("")
    with pytest.raises(
        Unavailable, match=rf"no temporary directory can be made in {place}: .*; set TMPDIR or coordinator"
    ):
        Scratch(place)


def test_logs_that_are_kept_stay_the_newest_few_of_them(tmp_path: Path) -> None:
    kept = []
    for number in range(KEPT_LOGS + 2):
        with Scratch(tmp_path) as scratch:
            logs = scratch.path / "ray"
            logs.mkdir()
            assert scratch.keep(ray=logs, treeroll=scratch.path / "none") is None
            (logs / "raylet.err").write_text(str(number))
            path = scratch.keep(ray=logs, treeroll=scratch.path / "none")
            assert path is not None
            os.utime(path, (number, number))
            kept.append(path)
    assert [path for path in kept if path.exists()] == kept[-KEPT_LOGS:]
    assert (kept[-1] / "ray" / "raylet.err").read_text() == str(KEPT_LOGS + 1)
