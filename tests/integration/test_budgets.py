"""Runs stop at their budget and at their deadline, and deliver what is complete, flagged."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.rollouts import rollout

from treeroll import clock
from treeroll.cli.status import status as status_command
from treeroll.client import AsyncRun, connect_async
from treeroll.client.batch import Failure
from treeroll.client.records import TreeRecord
from treeroll.config import CoordinatorConfig
from treeroll.core.model.budget import overshoot
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput, TreerollError
from treeroll.generator.config import SimulatedLatency
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

RUN: dict[str, Any] = {"recipe": "treepo", "leaves": 8, "segment_tokens": 32, "max_depth": 6, "scorer": "arith"}
SLOTS = 32


async def everything(run: AsyncRun) -> tuple[list[TreeRecord], list[Failure]]:
    """What every submitted task became."""
    trees: list[TreeRecord] = []
    failures: list[Failure] = []
    async for batch in run.batches(trees=8, allow_empty=True):
        trees += batch.trees
        failures += batch.failures
    return trees, failures


async def test_a_run_stops_at_its_budget_of_tokens_with_whole_trees() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=SLOTS)
        run = await client.create_run("run", **RUN, budget={"tokens": 20_000})
        await run.submit(read_tasks(TASKS_FILE))
        await run.close()
        trees, failures = await everything(run)
        status = await run.status()
        ledger, [cap] = status.ledger, status.caps
        assert (cap.resource, cap.limit, cap.spent, cap.outstanding) == ("tokens", 20_000, ledger.spent, 0)
        assert cap.left == 20_000 - ledger.spent
        assert status.stop_reason == "budget"
        assert "the run's budget has" in status.stop_detail
        assert 15_000 < ledger.spent <= 20_000 + overshoot(SLOTS)
        assert ledger.outstanding == 0
        assert len(trees) + len(failures) == 200
        whole = [tree for tree in trees if tree.status == "complete"]
        assert len(whole) >= len(trees) - 2
        assert all(tree.n_censored > 0 for tree in trees if tree.status == "partial")
        assert "the run's budget has" in failures[-1].error


async def test_a_run_stops_at_its_deadline_and_delivers_what_is_complete() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        # At the deadline a path of its first trees is long complete, even if the machine stood still for seconds, and
        # not all of 200 trees can be.
        service.start_replica("r0", slots=SLOTS, latency=SimulatedLatency(step_s=0.02))
        run = await client.create_run("run", **RUN, budget={"seconds": 8.0})
        assert 0 < ((await run.status()).deadline or 0) - clock.wall() < 8.0
        await run.submit(read_tasks(TASKS_FILE))
        await run.close()
        trees, failures = await everything(run)
        assert len(trees) + len(failures) == 200
        cut = [tree for tree in trees if tree.status == "partial"]
        assert cut
        for tree in cut:
            assert tree.n_censored > 0
            assert "the run's deadline" in tree.error
            assert {sample.status for sample in tree.samples} == {"partial"}
        assert all(re.search(r"the run's deadline .* passed", failure.error) for failure in failures)
        status = await run.status()
        assert (status.state, status.stop_reason, status.caps) == ("cancelled", "deadline", [])


async def test_an_audit_counts_what_trees_used_of_each_cap_again() -> None:
    caps = {"tokens": 15_000, "leaves": 60, "expansions": 40, "task_tokens": 1500, "tree_tokens": 1000}
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=SLOTS)
        run = await client.create_run("run", **RUN, budget=caps)
        await run.submit(read_tasks(TASKS_FILE, limit=20))
        await run.close()
        trees, _ = await everything(run)
        used = {cap.resource: cap.spent for cap in (await run.status()).caps}
        assert (await client.audit()).violations == []
        assert used["leaves"] == sum(len(tree.samples) for tree in trees) == 60
        assert 0 < used["expansions"] <= 40
        assert {tree.status for tree in trees} == {"complete", "partial"}


@pytest.mark.timing
async def test_a_run_never_generates_faster_than_its_rate_and_completes() -> None:
    rate, burst = 2000, 200
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=SLOTS)
        await service.joined()
        # From before the run's bucket is filled until after the last token: a slow machine only makes the bound wider.
        began = clock.monotonic()
        run = await client.create_run("run", **RUN, budget={"tokens_per_second": rate, "burst_tokens": burst})
        await run.submit(read_tasks(TASKS_FILE, limit=8))
        await run.close()
        trees, failures = await everything(run)
        spent = (await run.status()).ledger.spent
        elapsed = clock.monotonic() - began
        assert ([tree.status for tree in trees], failures) == (["complete"] * 8, [])
        assert spent > 5 * burst
        assert spent <= burst + rate * elapsed + overshoot(SLOTS)


async def test_a_budget_is_shown_while_it_is_spent_and_in_the_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with local_service() as service:
        service.start_replica("r0", slots=SLOTS)
        assert await rollout(service, tmp_path / "out", limit=40, budget={"tokens": 9000, "leaves": 9000}) == 0
        shown = capsys.readouterr().err
        await asyncio.to_thread(status_command, service.address)
        listed = capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    spent = summary["budget"]["tokens"]["spent"]
    assert summary["budget"]["tokens"]["limit"] == 9000
    assert summary["budget"]["leaves"] == {"limit": 9000, "spent": summary["samples"]}
    assert (summary["generated_tokens"], summary["stop_reason"]) == (spent, "budget")
    assert f"budget: {spent:,} of 9,000 tokens, {summary['samples']:,} of 9,000 leaves" in shown
    assert f"note: {summary['stop_detail']}" in shown
    assert f": budget: {spent:,} of 9,000 tokens, {summary['samples']:,} of 9,000 leaves; stopped: the run" in listed


async def test_a_deadline_comes_when_nothing_else_happens() -> None:
    """No replica speaks, and leases are looked at every ten minutes: only the core's alarm wakes the coordinator."""
    quiet = CoordinatorConfig(port=0, heartbeat_s=60.0, lease_s=2400.0)
    async with local_service(coordinator=quiet) as service, await connect_async(service.address) as client:
        run = await client.create_run("run", **RUN, budget={"seconds": 0.2})
        await run.submit(read_tasks(TASKS_FILE, limit=3))
        await run.close()
        async with asyncio.timeout(300):
            trees, failures = await everything(run)
        assert trees == []
        assert len(failures) == 3
        assert all(failure.error.endswith("passed before this task started") for failure in failures)


async def test_a_rollout_whose_time_is_over_before_its_tasks_are_there_says_so(tmp_path: Path) -> None:
    async with local_service() as service:
        service.start_replica("r0", slots=SLOTS)
        with pytest.raises(
            TreerollError, match=r"no task gave a sample; the first failure: the run's deadline .* passed"
        ):
            await rollout(service, tmp_path / "out", limit=40, budget={"seconds": 1e-6})


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"tokens": -5}, "'budget.tokens' should be greater than or equal to 1, got -5"),
        ({"leaves": 0}, "'budget.leaves' should be greater than or equal to 1, got 0"),
        ({"tokens": 2**63}, "'budget.tokens' should be less than or equal to"),
        ({"deadline": "2001-01-01T00:00:00+00:00"}, "budget.deadline 2001-01-01T00:00:00+00:00 is in the past"),
        ({"tool_calls": 5}, "budget.tool_calls is set, but the segment policy has no tool"),
        ({"tokens_per_second": 10, "burst_tokens": 5}, "budget.burst_tokens is 5, but one branch may need max_tokens"),
    ],
)
async def test_budgets_that_cannot_work_are_refused_in_one_sentence(budget: dict[str, Any], message: str) -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        with pytest.raises(InvalidInput, match=re.escape(message)) as refused:
            await client.create_run("run", **RUN, budget=budget)
        assert "\n" not in str(refused.value)
