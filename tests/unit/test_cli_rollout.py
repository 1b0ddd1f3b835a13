"""`treeroll rollout` in this process, against a service with simulated replicas: files, interrupts, resuming."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.support.eventually import eventually
from tests.support.rollouts import request, rollout

from treeroll import clock
from treeroll.cli.interrupts import Interrupted, Interrupts, heeded, unless
from treeroll.cli.preflight import make_plan
from treeroll.client import connect_async
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput, TreerollError, Unavailable
from treeroll.generator.config import SimulatedLatency
from treeroll.results import parts
from treeroll.results.audit import audit_directory
from treeroll.results.directory import Mode, ResultDir
from treeroll.results.reader import ResultReader
from treeroll.testing.service import local_service

SLOW = SimulatedLatency(step_s=0.002)


def summary(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "summary.json").read_text()))


def task_ids(out: Path) -> list[str]:
    return sorted({row["task_id"] for row in ResultReader(ResultDir(out)).rows("samples", ("task_id",))})


def first_tasks(count: int) -> list[str]:
    return sorted(json.loads(line)["id"] for line in TASKS_FILE.read_text().splitlines()[:count])


async def test_a_rollout_writes_files_that_agree(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with local_service() as service:
        service.start_replica("r0", slots=32)
        assert await rollout(service, out, limit=10) == 0
        client = await connect_async(service.address)
        [run_id] = (await client.status()).run_ids
        run = await (await client.run(run_id)).status()
    assert sorted(path.name for path in out.iterdir()) == [
        "nodes.parquet",
        "run.json",
        "samples.parquet",
        "summary.json",
        "trees.parquet",
    ]
    figures = summary(out)
    samples, nodes = pq.read_table(out / "samples.parquet"), pq.read_table(out / "nodes.parquet")
    assert (figures["trees"], figures["samples"], len(samples)) == (10, 80, 80)
    assert figures["complete"] is True
    assert figures["generated_tokens"] == run.ledger.spent
    assert figures["wasted_tokens"] == run.wasted_tokens
    assert figures["delivered_tokens"] == sum(map(len, samples["completion_ids"].to_pylist()))
    assert figures["sharing_ratio"] == pytest.approx(figures["delivered_tokens"] / figures["generated_tokens"])
    assert figures["forks"] == run.forks > 0
    assert figures["mean_reward"] == pytest.approx(sum(samples["reward"].to_pylist()) / 80)
    assert {"treeroll", "python", "simulated"} <= figures["versions"].keys()
    assert figures["policies"]["branch"]["name"] == "treepo"
    assert run_id.startswith("out-")
    assert len(set(nodes["tree_id"].to_pylist())) == 10
    assert audit_directory(out)[1] == []


async def test_without_a_scorer_rewards_and_advantages_are_null(tmp_path: Path) -> None:
    async with local_service() as service:
        service.start_replica("r0", slots=32)
        assert await rollout(service, tmp_path / "out", limit=2, scorer=None) == 0
    samples = pq.read_table(tmp_path / "out" / "samples.parquet")
    assert samples["reward"].null_count == samples["advantages"].null_count == len(samples)
    assert summary(tmp_path / "out")["mean_reward"] is None


async def test_a_service_that_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text('{"id": "long", "prompt": "%s"}\n' % ("1+" * 600))
    async with local_service() as service:
        service.start_replica("r0")
        with pytest.raises(InvalidInput, match="task 'long': the prompt has 1200 tokens"):
            await rollout(service, tmp_path / "out", tasks=tasks)
        with pytest.raises(InvalidInput, match="no recipe 'magic'"):
            await rollout(service, tmp_path / "out", recipe="magic")
    assert not (tmp_path / "out").exists()


async def test_ctrl_c_once_keeps_what_is_complete_and_resume_does_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first of ten parts is written long before the last tree has grown, however busy the machine is.
    monkeypatch.setattr("treeroll.cli.session.PART_TREES", 4)
    out = tmp_path / "out"
    async with local_service() as service:
        service.start_replica("r0", slots=4, latency=SLOW)
        running = asyncio.create_task(rollout(service, out, limit=40))
        await interrupt_when_written(out, running)
        assert await running == 130
        figures = summary(out)
        assert figures["complete"] is False
        assert 0 < figures["trees"] < 40
        assert figures["tasks"] == 40
        assert audit_directory(out)[1] == []
        service.start_replica("r1", slots=64)
        assert await rollout(service, out, limit=40, mode=Mode.RESUME) == 0
    figures = summary(out)
    assert (figures["complete"], figures["trees"], figures["partial_trees"]) == (True, 40, 0)
    assert len(figures["runs"]) == 2
    assert task_ids(out) == first_tasks(40)
    assert audit_directory(out)[1] == []


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [(signal.SIGTERM, 143, "stopped by SIGTERM: "), (signal.SIGHUP, 129, "stopped by SIGHUP: ")],
)
async def test_a_rollout_that_a_signal_ended_names_it_and_exits_with_128_and_its_number(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    code: int,
    words: str,
) -> None:
    monkeypatch.setattr("treeroll.cli.session.PART_TREES", 4)
    out = tmp_path / "out"
    async with local_service() as service:
        service.start_replica("r0", slots=4, latency=SLOW)
        running = asyncio.create_task(rollout(service, out, limit=40))
        await interrupt_when_written(out, running, number)
        assert await running == code
    assert words in capsys.readouterr().err


async def interrupt_when_written(
    out: Path, running: "asyncio.Task[int]", number: signal.Signals = signal.SIGINT
) -> None:
    async def some_part() -> bool:
        return running.done() or ResultDir(out).part_indices() != []

    await eventually(some_part)
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("writes", [6, 7, 8])  # two whole parts, and some files of the third
async def test_a_killed_rollout_is_resumed_at_the_service_that_still_has_its_trees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    monkeypatch.setattr("treeroll.cli.session.LEASE_S", 1.0)
    monkeypatch.setattr("treeroll.cli.session.PART_TREES", 4)
    out = tmp_path / "out"
    async with local_service() as service:
        service.start_replica("r0", slots=32)
        with monkeypatch.context() as patch:
            patch.setattr(parts, "write_table", crash_after(writes))
            with pytest.raises(SystemExit):
                await rollout(service, out, limit=12)
        assert ResultDir(out).part_indices() == [0, 1]
        assert not (out / "samples.parquet").exists()
        assert await rollout(service, out, limit=12, mode=Mode.RESUME) == 0
        client = await connect_async(service.address)
        assert len((await client.status()).run_ids) == 1  # nothing was grown again
    figures = summary(out)
    assert (figures["trees"], len(figures["runs"]), figures["wasted_tokens"] >= 0) == (12, 1, True)
    assert task_ids(out) == first_tasks(12)
    assert audit_directory(out)[1] == []


async def test_every_task_has_a_row_that_says_how_it_ended_and_the_rows_add_up(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with local_service() as service:
        service.start_replica("r0", slots=32)
        assert await rollout(service, out, limit=8, recipe="flat", budget_tokens=1500) == 0
    figures, rows = summary(out), list(ResultReader(ResultDir(out)).rows("trees"))
    assert sorted(row["task_id"] for row in rows) == first_tasks(8)
    assert {row["status"] for row in rows} > {"failed"}
    assert sum(row["spent"] for row in rows) == figures["generated_tokens"]
    assert sum(row["wasted_tokens"] for row in rows) == figures["wasted_tokens"]
    for row in rows:
        assert (row["status"] == "complete") == (row["stop_reason"] == "") == (row["error"] == "")
        assert row["stop_reason"] in ("", "budget")
        assert row["most_leaves"] == 8
        assert (row["wall_s"] > 0) == (row["replicas"] == ["r0"]) == (row["spent"] > 0)
    assert audit_directory(out)[1] == []


async def test_means_say_over_how_many_tasks_they_are_where_some_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with local_service() as service:
        service.start_replica("r0", slots=32)
        assert await rollout(service, tmp_path / "short", limit=8, recipe="flat", budget_tokens=1500) == 0
        said = capsys.readouterr()
        assert await rollout(service, tmp_path / "whole", limit=2, recipe="flat") == 0
        whole = capsys.readouterr()
    figures = summary(tmp_path / "short")
    rows = ResultReader(ResultDir(tmp_path / "short")).rows("trees")
    scored = sum(row["n_scored"] > 0 for row in rows)
    assert 0 < scored < 8
    assert (figures["mean_reward_tasks"], figures["mean_reward_unbiased_tasks"]) == (scored, scored)
    assert said.out.count(f", {scored} of 8 tasks") == 2
    assert f"rewards are of {scored} of 8 tasks" in said.err
    assert summary(tmp_path / "whole")["mean_reward_tasks"] == 2
    assert "of 2 tasks" not in whole.out + whole.err


def crash_after(writes: int) -> Any:
    """Write a few tables, then end as a process that is killed would: without acknowledging."""
    left = iter(range(writes))

    def write(rows: Any, path: Path) -> None:
        if next(left, None) is None:
            raise SystemExit
        original(rows, path)

    original = parts.write_table
    return write


async def test_resuming_what_is_finished_needs_no_service(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with local_service() as service:
        service.start_replica("r0", slots=32)
        assert await rollout(service, out, limit=3) == 0
        again = make_plan(request(service, out, limit=3, mode=Mode.RESUME))
        with pytest.raises(InvalidInput, match="holds results; give --resume"):
            await rollout(service, out, limit=3)
        with pytest.raises(InvalidInput, match=r"leaves = 8, now it is 4"):
            await rollout(service, out, limit=5, mode=Mode.RESUME, leaves=4)
    before = summary(out)
    from treeroll.cli.job import execute

    assert await execute(again) == 0
    assert summary(out) == before


async def test_overwriting_replaces_everything(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with local_service() as service:
        service.start_replica("r0", slots=32)
        assert await rollout(service, out, limit=5) == 0
        assert await rollout(service, out, limit=2, mode=Mode.OVERWRITE, leaves=4) == 0
    assert (summary(out)["trees"], summary(out)["samples"]) == (2, 8)
    assert audit_directory(out)[1] == []


async def test_a_rollout_without_any_sample_is_a_failed_run(tmp_path: Path) -> None:
    async with local_service() as service:
        service.start_replica("r0", slots=32)
        with pytest.raises(TreerollError, match=r"no task gave a sample; the first failure: .*budget"):
            await rollout(service, tmp_path / "out", limit=3, budget_tokens=1)
    figures = summary(tmp_path / "out")
    assert (figures["failed_tasks"], figures["trees"]) == (3, 0)
    assert len(figures["failures"]) == 3


async def test_work_goes_on_until_it_is_done_or_trouble_comes() -> None:
    async def trouble(after_s: float) -> None:
        await asyncio.sleep(after_s)
        raise Unavailable("gone")

    assert await unless(asyncio.sleep(0.01, "done"), trouble(3600)) == "done"
    with pytest.raises(Unavailable, match="gone"):
        await unless(asyncio.sleep(3600), trouble(0.01))


async def test_the_first_ctrl_c_asks_and_the_second_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds: list[int] = []
    monkeypatch.setattr(clock, "monotonic", lambda: 100.0)  # all of it happens in one moment
    with Interrupts(seconds.append) as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            await interrupts.unless_asked(asyncio.sleep(3600))
        os.kill(os.getpid(), signal.SIGTERM)  # so soon after, it is the same request
        assert seconds == []
        os.kill(os.getpid(), signal.SIGINT)

        async def told() -> bool:
            return seconds == [signal.SIGINT]

        await eventually(told)


def test_a_closed_terminal_is_ignored_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert heeded() == [signal.SIGINT, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)
