"""Tasks and their scorer through a whole service: abstentions, and tasks that a scorer can make nothing of."""

import logging
from typing import Any

import pytest

from treeroll.client import AsyncRun, TreeRecord, connect_async
from treeroll.testing.service import LocalService, local_service

FUNCTIONS = "tests.support.scorer_functions"
RUN: dict[str, Any] = {"recipe": "flat", "leaves": 8, "max_tokens": 96, "seed": 3}
PROMPTS = [{"id": f"t{n}", "prompt": f"Compute {n}+12*3.\n"} for n in range(4)]


async def grow(service: LocalService, tasks: list[dict[str, Any]], **config: Any) -> tuple[AsyncRun, list[TreeRecord]]:
    client = await connect_async(service.address)
    run = await client.create_run("r", **{**RUN, **config})
    await run.submit(tasks)
    await run.close()
    return run, [tree async for batch in run.batches() for tree in batch.trees]


async def test_a_leaf_from_which_the_scorer_abstains_is_missing_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with local_service() as service:
        service.start_replica("r0", slots=32)
        with caplog.at_level(logging.WARNING):
            run, trees = await grow(service, PROMPTS, scorer=f"python:{FUNCTIONS}:of_even_length")
        status = await run.status()
        samples = [sample for tree in trees for sample in tree.samples]
        tree = next(tree for tree in trees if {s.reward_status for s in tree.samples} == {"ok", "missing"})
        abstained = next(sample for sample in tree.samples if sample.reward is None)
        await run.report_rewards(
            [(tree.tree_id, abstained.path_node_ids[-1], 0.5)], f"python:{FUNCTIONS}:of_even_length"
        )
        after = await run.get_tree(tree.tree_id)
    assert {(len(s.completion_text) % 2, s.reward, s.reward_status) for s in samples} == {
        (0, 1.0, "ok"),
        (1, None, "missing"),
    }
    assert all((sample.advantages is None) == (sample.reward is None) for sample in samples)
    assert status.reward_errors == 0
    assert "have no score" not in caplog.text
    changed = [s.reward for s, before in zip(after.samples, tree.samples, strict=True) if s.reward != before.reward]
    assert changed == [0.5]
    assert {sample.reward_status for sample in after.samples} <= {"ok", "missing"}
