"""Calls of a tool on the way: the answer becomes part of the step, and nobody takes it for the model's own."""

import asyncio
from typing import Any, ClassVar

import pytest
from tests.support.eventually import eventually

from treeroll.client import connect_async
from treeroll.client.async_run import AsyncRun
from treeroll.client.records import TreeRecord
from treeroll.config import CoordinatorConfig
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.generator.config import SimulatedLatency
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service
from treeroll.tools import registry
from treeroll.tree.tree import TAIL_CHARS


class Counter:
    """The simulated engine writes lines: each calls for the number of characters of all of them."""

    name: ClassVar[str] = "counter"
    summary: ClassVar[str] = "counts characters"
    call_end: ClassVar[str] = "\n"

    def answer(self, text: str) -> str:
        return f"[{len(text)}]"


RUN: dict[str, Any] = {
    "recipe": "tree_grpo", "leaves": 6, "max_depth": 4, "max_tokens": 200, "scorer": "arith", "seed": 5,
    "segment": {"name": "agent_step", "tool": "counter"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.TOOLS, "counter", Counter())  # type: ignore[misc]


async def grow(service: LocalService, **changes: Any) -> tuple[AsyncRun, list[TreeRecord]]:
    await service.joined()
    client = await connect_async(service.address)
    run = await client.create_run("run", **{**RUN, **changes})
    await run.submit(read_tasks(TASKS_FILE, limit=8))
    await run.close()
    return run, [tree async for batch in run.batches() for tree in batch.trees]


async def test_answers_are_in_the_path_and_masked() -> None:
    async with local_service(coordinator=CoordinatorConfig(port=0, placement="round_robin")) as service:
        service.start_replica("r0")
        service.start_replica("r1")
        run, trees = await grow(service)
        answered = 0
        for tree in trees:
            nodes = {node.node_id: node for node in tree.nodes}
            for sample in tree.samples:
                path = [nodes[name] for name in sample.path_node_ids]
                text = ""
                for node in path:
                    if node.observation_tokens:
                        answered += 1
                        call, _, answer = node.text.rpartition("\n")
                        assert answer == f"[{min(len(text), TAIL_CHARS) + len(call) + 1}]"
                        assert node.logprobs[-node.observation_tokens :].tolist() == [0.0] * node.observation_tokens
                    text += node.text
                assert sample.completion_text == text
                assert text == service.tokenizer.decode_completion(sample.completion_ids.tolist())
                masked = sum(node.observation_tokens for node in path)
                assert len(sample.completion_ids) - int(sample.model_mask.sum()) == masked
                assert all(sample.logprobs[sample.model_mask == 0] == 0.0)
        assert answered > 10
        assert (await (await connect_async(service.address)).audit()).violations == []
        status = await run.status()
        made = sum(len(n.token_ids) - n.observation_tokens for tree in trees for n in tree.nodes if n.parent_id)
        assert status.ledger.spent == made + status.wasted_tokens


async def test_paths_are_the_same_with_other_fleets_and_after_a_death() -> None:
    def rows(trees: list[TreeRecord]) -> list[tuple[Any, ...]]:
        return sorted(
            (tree.task_id, sample.sample_id, sample.completion_ids.tolist(), sample.advantages.tolist())
            for tree in trees
            for sample in tree.samples
        )

    async with local_service() as service:
        service.start_replica("r0", slots=64)
        _, alone = await grow(service)
    async with local_service() as service:
        service.start_replica("r0", slots=3, latency=SimulatedLatency(step_s=0.0005))
        victim = service.start_replica("r1", slots=3, latency=SimulatedLatency(step_s=0.0005))
        growing = asyncio.create_task(grow(service))

        async def busy() -> bool:
            replica = service.coordinator.state.replicas.get("r1")
            return replica is not None and bool(replica.grants)

        await eventually(busy)
        victim.cancel()
        service.lose("r1", 1)
        _, fleet = await growing
    assert rows(fleet) == rows(alone)


async def test_a_path_whose_answer_leaves_no_room_ends_at_its_call() -> None:
    async with local_service() as service:
        service.start_replica("r0")
        _, trees = await grow(service, max_tokens=24)
        ends = [node for tree in trees for node in tree.nodes if node.status == "leaf"]
        assert all(node.token_start + len(node.token_ids) <= len(tree.nodes[0].token_ids) + 24 for tree in trees
                   for node in tree.nodes)  # fmt: skip
        assert {node.stop_reason for node in ends} <= {"length", "eos", "answer", "depth"}


async def test_tools_that_do_not_exist_are_refused() -> None:
    async with local_service() as service:
        service.start_replica("r0")
        with pytest.raises(InvalidInput, match="unknown tool 'calc'; choose one of calculator"):
            await grow(service, segment={"name": "agent_step", "tool": "calc"})


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("arpo", {"leaves": 8, "top_logprobs": 5, "branch": {"initial": 3, "vocabulary": 64}}),
        ("aepo", {"leaves": 8, "top_logprobs": 5, "branch": {"vocabulary": 64, "tau": 0.3}}),
        ("treeps_rag", {"leaves": 16}),
    ],
)
async def test_agents_branch_behind_answers_and_nowhere_else(recipe: str, changes: dict[str, Any]) -> None:
    async with local_service() as service:
        service.start_replica("r0")
        _, trees = await grow(service, recipe=recipe, **changes)
        assert {tree.status for tree in trees} == {"complete"}
        branched = 0
        for tree in trees:
            assert 1 <= len(tree.samples) <= changes["leaves"]
            assert all(sample.advantages is not None for sample in tree.samples)
            told = {node.node_id for node in tree.nodes if node.observation_tokens}
            behind = [node.parent_id for node in tree.nodes[1:] if node.parent_id != tree.nodes[0].node_id]
            assert set(behind) <= told
            branched += len(behind) - len(set(behind))
        assert branched > 10
        assert (await (await connect_async(service.address)).audit()).violations == []
