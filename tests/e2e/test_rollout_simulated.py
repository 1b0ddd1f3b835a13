"""`treeroll rollout` as users run it: real Ray, real Redis, simulated engines."""

import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pyarrow.parquet as pq
import pytest
from tests.support.command import Command

from treeroll.client.columns import NODE_SCHEMA, SAMPLE_SCHEMA
from treeroll.demo import MODEL_DIR, TASKS_FILE, TOOL_MODEL_DIR

pytestmark = [pytest.mark.slow]

FAST = ("--engine", "simulated", "--segment-tokens", "32", "--leaves", "8", "--scorer", "arith")
# A decode step takes long enough to press Ctrl-C in the middle.
SLOW = (*FAST, "--replicas", "1", "--set", "generator.slots=8", "--set", "generator.simulated.step_s=0.01")
# Ray and Redis start within this even when other tests keep the machine busy.

SUMMARY_KEYS = (
    *("trees", "samples", "prompt_tokens", "generated_tokens", "delivered_tokens", "cached_tokens"),
    *("recomputed_tokens", "forks", "sharing_ratio", "wasted_tokens", "lost_tokens_max", "wall_s", "samples_per_s"),
    *("tokens_per_s", "mean_reward", "mean_reward_unbiased", "effective_tree_fraction", "failed_tasks", "replicas"),
    *("recipe", "model", "seed", "versions", "complete", "fork_requests", "fork_recomputed_tokens", "regrants"),
    *("reward_errors", "setup_s", "mean_reward_se", "mean_reward_unbiased_se", "policies"),
)


def rollout(out: Path, *args: str) -> Command:
    return Command(["rollout", str(TASKS_FILE), "--out", str(out), *args], out.with_name(f"{out.name}.log"))


def run(*args: str, log: Path) -> tuple[int, str]:
    with Command(args, log) as command:
        return command.wait(), command.output()


def summary(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "summary.json").read_text()))


def readable_parts(out: Path) -> int:
    """Rows in the parts, each read whole."""
    return sum(len(pq.read_table(path)) for path in sorted((out / "parts").glob("*.parquet")))


def has_parts(out: Path, count: int = 1) -> bool:
    return len(list((out / "parts").glob("samples-*.parquet"))) >= count


def first_state(address: str) -> dict[str, Any]:
    """What a dashboard says first of the service that it shows."""
    base, _, token = address.partition("/#token=")
    asked = Request(f"{base}/api/1/live", headers={"authorization": f"Bearer {token}"})  # noqa: S310 - ours
    with urlopen(asked) as stream:  # noqa: S310
        line = next(line for line in stream if line.startswith(b"data: "))
    return dict(json.loads(line.removeprefix(b"data: ")))


def test_a_rollout_with_one_of_two_models(tmp_path: Path) -> None:
    out = tmp_path / "out"
    pools = {"small": {"model": str(TOOL_MODEL_DIR)}, "large": {"model": str(MODEL_DIR), "replicas": 2}}
    named = ("--set", f"generator.pools={json.dumps(pools)}")
    with rollout(out, *FAST, *named, "--limit", "10") as command:
        assert command.wait() == 2
        assert "this service serves 'small' and 'large'; set model to the one" in command.output()
    with rollout(out, *FAST, *named, "--limit", "10", "--set", "run.model=large") as command:
        assert command.wait() == 0, command.output()
        command.assert_gone()
        assert "starting Redis, Ray and 3 simulated replicas ..." in command.output()
    assert summary(out)["model"] == f"small={TOOL_MODEL_DIR}, large={MODEL_DIR}"
    nodes = pq.read_table(out / "nodes.parquet")
    assert {replica for replica in nodes["replica_id"].to_pylist() if replica} == {"large-0", "large-1"}
    assert set(pq.read_table(out / "samples.parquet")["model"].to_pylist()) == {"large"}


def test_a_rollout_from_start_to_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with rollout(out, *FAST, "--replicas", "2", "--limit", "30") as command:
        code = command.wait()
        assert code == 0, command.output()
        command.assert_gone()
        said = command.output()
    assert "starting Redis, Ray and 2 simulated replicas ..." in said
    assert "2 replicas ready at" in said
    assert "sharing ratio" in said
    rows = {f"{kind}.parquet" for kind in ("events", "nodes", "samples", "trees")}
    assert {path.name for path in out.iterdir()} == {*rows, "run.json", "service.log", "summary.json"}
    figures = summary(out)
    assert set(SUMMARY_KEYS) <= figures.keys()
    assert (figures["trees"], figures["samples"], figures["replicas"]) == (30, 240, 2)
    assert figures["sharing_ratio"] > 1
    assert figures["fork_recomputed_tokens"] >= figures["fork_requests"] > 0
    assert 0 < figures["mean_reward"] < 1
    samples, nodes = pq.read_table(out / "samples.parquet"), pq.read_table(out / "nodes.parquet")
    assert samples.schema.names == SAMPLE_SCHEMA.names
    assert nodes.schema.names == NODE_SCHEMA.names
    assert len({replica for replica in nodes["replica_id"].to_pylist() if replica}) == 2
    code, audited = run("audit", "--from", str(out), log=tmp_path / "audit.log")
    assert (code, "no broken promise found" in audited) == (0, True)
    code, drawn = run("inspect", "--from", str(out), log=tmp_path / "inspect.log")
    assert code == 0
    assert all(words in drawn for words in ("+ reward 1", "- reward 0", "answer", "sharing"))


def test_ctrl_c_once_keeps_what_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with rollout(out, *SLOW, "--set", "dashboard.port=0") as command:
        command.until(lambda: has_parts(out))
        assert len(command.family()) > 5  # the mark reaches Ray's and Redis's processes
        command.until(lambda: "dashboard: http" in command.output())
        seen = first_state(command.output().rpartition("dashboard: ")[2].split()[0])
        assert seen["snapshot"]["growing_trees"] > 0
        command.interrupt()
        assert command.wait() == 130, command.output()
        command.assert_gone()
        assert "stopped by Ctrl-C" in command.output()
    figures = summary(out)
    assert figures["complete"] is False
    assert 0 < figures["trees"] < 200
    assert len(pq.read_table(out / "samples.parquet")) == figures["samples"]
    assert run("audit", "--from", str(out), log=tmp_path / "audit.log")[0] == 0


def test_ctrl_c_twice_ends_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with rollout(out, *SLOW) as command:
        command.until(lambda: has_parts(out))
        command.interrupt()
        command.until(lambda: "stopping: keeping what is complete" in command.output())
        command.interrupt()
        assert command.wait() == 130, command.output()
        command.assert_gone()
    assert readable_parts(out) > 0 or (out / "samples.parquet").exists()


def test_kill_9_leaves_readable_parts_and_no_process_and_resume_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with rollout(out, *SLOW, "--limit", "40") as command:
        command.until(lambda: has_parts(out))
        command.process.kill()
        command.wait()
        command.assert_gone()
    kept = readable_parts(out)
    assert kept > 0
    assert not (out / "samples.parquet").exists()
    code, said = run("rollout", str(TASKS_FILE), "--out", str(out), *SLOW, "--limit", "40", log=tmp_path / "x.log")
    assert (code, "holds results; give --resume" in said) == (2, True)
    with rollout(out, *SLOW, "--limit", "40", "--resume") as command:
        assert command.wait() == 0, command.output()
        command.assert_gone()
    figures = summary(out)
    assert (figures["trees"], figures["complete"], len(figures["runs"])) == (40, True, 2)
    assert run("audit", "--from", str(out), log=tmp_path / "audit.log")[0] == 0


def test_ctrl_c_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with rollout(out, *FAST) as command:
        command.until(lambda: any("raylet" in line for line in command.family().values()))
        command.interrupt()
        assert command.wait() == 130, command.output()
        command.assert_gone()
    assert not (out / "run.json").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["{tmp}/none.jsonl", "--out", "{tmp}/out"], "none.jsonl cannot be read: No such file or directory"),
        (["{tmp}/bad.jsonl", "--out", "{tmp}/out"], "bad.jsonl line 7: not valid JSON"),
        (["{tasks}", "--out", "{tmp}/bad.jsonl/out"], "is not a directory"),
        (["{tasks}", "--out", "{tmp}/out", "--recipe", "magic"], "there is no recipe 'magic'"),
        (["{tasks}", "--out", "{tmp}/out", "--leaves", "0"], "'leaves' should be greater than or equal to 1, got 0"),
        (["{tasks}", "--out", "{tmp}/out", "--model", "{tmp}"], "is no model"),
        (["{tasks}", "--out", "{tmp}/out", "--address", "localhost:1"], "nobody answers at localhost:1"),
    ],
)
def test_bad_input_is_one_sentence_exit_code_2_and_nothing_written(args: list[str], words: str, tmp_path: Path) -> None:
    good = [json.dumps({"id": str(number), "prompt": "1+1"}) for number in range(6)]
    (tmp_path / "bad.jsonl").write_text("\n".join([*good, "{oops"]) + "\n")
    filled = [arg.format(tmp=tmp_path, tasks=TASKS_FILE) for arg in args]
    code, said = run("rollout", *filled, "--scorer", "arith", log=tmp_path / "said.log")
    assert code == 2
    assert said.count("\n") == 1
    assert said.startswith("error: ")
    assert words in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "said.log"]
