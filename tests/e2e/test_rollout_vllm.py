"""`treeroll rollout` with the real engine, on a few tasks."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.support.command import Command
from tests.support.processes import is_engine

from treeroll.demo import TASKS_FILE
from treeroll.results.audit import audit_directory

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1800)]


def test_vllm_grows_scored_trees_and_shares_prefixes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = [
        "rollout",
        str(TASKS_FILE),
        "--out",
        str(out),
        "--limit",
        "6",
        "--segment-tokens",
        "32",
        "--scorer",
        "arith",
    ]
    with Command(args, tmp_path / "said.log") as command:
        assert command.wait() == 0, command.output()
        command.assert_gone()
    figures = json.loads((out / "summary.json").read_text())
    assert (figures["trees"], figures["samples"], figures["failed_tasks"]) == (6, 96, 0)
    assert figures["sharing_ratio"] > 1
    assert figures["reward_errors"] == 0
    assert any(name.startswith("vllm") for name in figures["versions"])
    assert set(pq.read_table(out / "samples.parquet")["logprobs_mode"].to_pylist()) == {"processed"}
    assert audit_directory(out)[1] == []


@pytest.mark.parametrize("end", ["kill -9", "Ctrl-C twice"])
def test_no_engine_outlives_a_rollout_that_ends_abruptly(tmp_path: Path, end: str) -> None:
    out = tmp_path / "out"
    args = ["rollout", str(TASKS_FILE), "--out", str(out), "--segment-tokens", "32", "--scorer", "arith"]
    with Command(args, tmp_path / "said.log") as command:
        command.until(lambda: list(out.glob("parts/samples-*.parquet")))
        # Waited for: a process can be unreadable at the moment of a look.
        command.until(lambda: any(map(is_engine, command.family().values())))
        if end == "kill -9":
            command.process.kill()
        else:
            command.interrupt()
            command.until(lambda: "stopping: keeping what is complete" in command.output())
            command.interrupt()
        command.wait()
        command.assert_gone()
    assert len(pq.read_table(sorted(out.glob("**/samples*.parquet"))[0])) > 0
