"""Runs stop at their budget and at their deadline, and deliver what is complete, flagged."""

import re
from typing import Any

import pytest
from tests.support.local_service import local_service

from treeroll.client import AsyncRun, connect_async
from treeroll.client.batch import Failure
from treeroll.client.records import TreeRecord
from treeroll.core.budget import overshoot
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.generator.config import SimulatedLatency
from treeroll.tasks import read_tasks

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
        ledger = (await run.status()).ledger
        assert 15_000 < ledger.spent <= 20_000 + overshoot(SLOTS)
        assert ledger.outstanding == 0
        assert len(trees) + len(failures) == 200
        whole = [tree for tree in trees if tree.status == "complete"]
        assert len(whole) >= len(trees) - 2
        assert all(tree.n_censored > 0 for tree in trees if tree.status == "partial")
        assert "the run's budget has" in failures[-1].error


async def test_a_run_stops_at_its_deadline_and_delivers_what_is_complete() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=SLOTS, latency=SimulatedLatency(step_s=0.002))
        run = await client.create_run("run", **RUN, budget={"seconds": 1.0})
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
