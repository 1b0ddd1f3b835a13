"""The example trainer, killed and started again: every tree is trained on once. Only tokens are simulated."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.eventually import eventually_sync

from treeroll.examples.learning_log import Account, account
from treeroll.testing.service import running_service

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

CHECKPOINT_EVERY = 5  # the trainer's
TREES = 2
FEW = ("--trees", str(TREES), "--evaluate-every", "0", "--lr", "1e-5")


def trainer(address: str, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "treeroll.examples.torch_trainer", "--address", address, "--out", str(out)]
    return subprocess.Popen([*command, *FEW, *options])


def steps_noted(out: Path) -> list[int]:
    """The journal's, of all lives; the last line may be half written."""
    journal = out / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    return [json.loads(line)["step"] for line in lines if line.endswith("\n")]


def kill_after(process: subprocess.Popen[bytes], out: Path, steps: int) -> None:
    try:
        eventually_sync(lambda: process.poll() is not None or len(steps_noted(out)) >= steps)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL


def killed_after_a_checkpoint(address: str, out: Path) -> Account:
    """What stands when a trainer died some steps after its last checkpoint. It may have come to the next one since it
    was looked at: then the next life is killed, too."""
    options = ["--steps", "1000"]
    while True:
        kill_after(trainer(address, out, *options), out, len(steps_noted(out)) + CHECKPOINT_EVERY + 2)
        killed = account(out)
        if steps_noted(out)[-1] > killed.steps:
            return killed
        options = ["--steps", "1000", "--resume"]


def test_a_trainer_that_is_killed_goes_on_from_its_checkpoint_with_every_tree_once(tmp_path: Path) -> None:
    with running_service() as address:
        killed = killed_after_a_checkpoint(address, tmp_path)
        assert killed.steps >= CHECKPOINT_EVERY
        some, more = killed.steps + 4, killed.steps + 6
        assert trainer(address, tmp_path, "--steps", str(some), "--resume").wait() == 0
        resumed = account(tmp_path)
    assert steps_noted(tmp_path).count(killed.steps + 1) > 1  # steps were done anew
    assert (resumed.steps, resumed.trained, resumed.twice, resumed.never) == (some, some * TREES, (), ())
    with running_service() as address:  # another service, which knows nothing of the trees before
        assert trainer(address, tmp_path, "--steps", str(more), "--resume").wait() == 0
    later = account(tmp_path)
    assert (later.steps, later.trained, later.twice, later.never) == (more, more * TREES, (), ())
