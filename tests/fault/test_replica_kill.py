"""kill -9 of a replica, and of only its engine, in the middle of a real run: nothing is missing or doubled."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.support.processes import descendants, engines_below

from treeroll.demo import TASKS_FILE

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]
TASKS, LEAVES = 120, 16


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rollout during which one replica's process is killed, and only the engine core of the other."""
    out = tmp_path_factory.mktemp("kill") / "out"
    command = [
        sys.executable, "-m", "treeroll.cli.main", "rollout", str(TASKS_FILE), "--out", str(out), "--limit", str(TASKS),
        "--leaves", str(LEAVES), "--segment-tokens", "32", "--replicas", "2", "--scorer", "arith",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as cli:
        try:
            output = "".join(lines_until_leaves(cli))
            assert of_kind(cli.pid, "ray::GeneratorReplica"), output
            victim = of_kind(cli.pid, "ray::GeneratorReplica")[0]
            others = set(engines_below(cli.pid)) - set(descendants(victim))
            assert len(others) == 1
            os.kill(victim, signal.SIGKILL)
            os.kill(others.pop(), signal.SIGKILL)
            output += cli.communicate()[0]
        finally:
            cli.kill()
    assert cli.returncode == 0, output
    return out


def lines_until_leaves(cli: "subprocess.Popen[str]") -> Iterator[str]:
    """Progress lines up to the first that reports complete leaves."""
    assert cli.stdout is not None
    for line in cli.stdout:
        yield line
        progress = re.search(r"trees, ([\d,]+) leaves", line)
        if progress and progress[1] != "0":
            return


def of_kind(root: int, title: str) -> list[int]:
    return sorted(pid for pid, command in descendants(root).items() if title in command)


def test_no_task_is_missing_or_doubled(result: Path) -> None:
    samples = pq.read_table(result / "samples.parquet").to_pylist()
    per_task = Counter(row["task_id"] for row in samples)
    assert len(per_task) == TASKS
    assert set(per_task.values()) == {LEAVES}
    assert len({row["sample_id"] for row in samples}) == len(samples)


def test_tokens_are_accounted_for(result: Path) -> None:
    summary = json.loads((result / "summary.json").read_text())
    nodes = pq.read_table(result / "nodes.parquet", columns=["depth", "token_ids"]).to_pylist()
    delivered = sum(len(row["token_ids"]) for row in nodes if row["depth"])
    assert summary["regrants"] > 0
    assert summary["failed_tasks"] == 0
    # Every reported token is in a node or was dropped; a node below which no sample ended counts as waste too.
    assert summary["generated_tokens"] == summary["unique_tokens"] + summary["wasted_tokens"]
    assert delivered <= summary["generated_tokens"]
    assert summary["lost_tokens_max"] > 0


def test_the_audit_is_clean(result: Path) -> None:
    audit = subprocess.run(
        [sys.executable, "-m", "treeroll.cli.main", "audit", "--from", str(result)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert audit.returncode == 0, audit.stdout + audit.stderr
