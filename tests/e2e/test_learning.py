"""The example trainer, killed and started again: every tree is trained on once. Only tokens are simulated."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.eventually import eventually_sync

from treeroll.examples.learning_log import account
from treeroll.testing.service import running_service

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

CHECKPOINT_EVERY = 5  # the trainer's
TREES = 2
FEW = ("--trees", str(TREES), "--evaluate-every", "0", "--lr", "1e-5")


def trainer(address: str, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "treeroll.examples.torch_trainer", "--address", address, "--out", str(out)]
    return subprocess.Popen([*command, *FEW, *options])


def steps_noted(out: Path) -> int:
    """Lines of the journal, of all lives."""
    journal = out / "journal.jsonl"
    return len(journal.read_text().splitlines()) if journal.exists() else 0


def kill_after(process: subprocess.Popen[bytes], out: Path, steps: int) -> None:
    try:
        eventually_sync(lambda: process.poll() is not None or steps_noted(out) >= steps, timeout_s=500)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL


def test_a_trainer_that_is_killed_goes_on_from_its_checkpoint_with_every_tree_once(tmp_path: Path) -> None:
    with running_service() as address:
        kill_after(trainer(address, tmp_path, "--steps", "1000"), tmp_path, CHECKPOINT_EVERY + 2)
        killed = account(tmp_path)
        assert trainer(address, tmp_path, "--steps", "9", "--resume").wait() == 0
        resumed = account(tmp_path)
    assert CHECKPOINT_EVERY <= killed.steps < steps_noted(tmp_path) - (9 - killed.steps)  # steps were done anew
    assert (resumed.steps, resumed.trained, resumed.twice, resumed.never) == (9, 9 * TREES, (), ())
    with running_service() as address:  # another service, which knows nothing of the trees before
        assert trainer(address, tmp_path, "--steps", "11", "--resume").wait() == 0
    later = account(tmp_path)
    assert (later.steps, later.trained, later.twice, later.never) == (11, 11 * TREES, (), ())
