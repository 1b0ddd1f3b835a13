"""Branches that begin inside a segment: what trainers, people and audits see of it."""

import asyncio
from typing import Any

import pytest

from treeroll.client import connect_async
from treeroll.client.async_run import AsyncRun
from treeroll.client.records import TreeRecord
from treeroll.config import CoordinatorConfig
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

RUN: dict[str, Any] = {
    "recipe": "treerl", "leaves": 10, "max_tokens": 128, "scorer": "arith", "seed": 5,
    "branch": {"chains": 2, "places": 1, "rounds": 2, "forks": 2},
}  # fmt: skip
# Every branch goes to the other replica than the last one: prefixes are read from the store.
MOVING = CoordinatorConfig(port=0, heartbeat_s=0.2, lease_s=2.0, placement="round_robin")


async def grow(service: LocalService, **changes: Any) -> tuple[AsyncRun, list[TreeRecord]]:
    for name in ("r0", "r1"):
        service.start_replica(name)
    await service.joined()
    client = await connect_async(service.address)
    run = await client.create_run("run", **{**RUN, **changes})
    await run.submit(read_tasks(TASKS_FILE, limit=8))
    await run.close()
    return run, [tree async for batch in run.batches() for tree in batch.trees]


async def test_samples_join_the_tokens_and_texts_of_split_segments() -> None:
    async with local_service(coordinator=MOVING) as service:
        run, trees = await grow(service)
        assert (await run.status()).cached_tokens > 0
        for tree in trees:
            nodes = {node.node_id: node for node in tree.nodes}
            split = [node for node in tree.nodes if node.depth > 1]
            assert split, "a round of two places splits every trunk"
            for node in split:
                parent = nodes[node.parent_id or ""]
                assert node.token_start == parent.token_start + len(parent.token_ids)
            for sample in tree.samples:
                path = [nodes[name] for name in sample.path_node_ids]
                assert sample.completion_ids.tolist() == [t for node in path for t in node.token_ids.tolist()]
                assert sample.completion_text == "".join(node.text for node in path)
                assert sample.completion_text == service.tokenizer.decode_completion(sample.completion_ids.tolist())
                assert len(sample.advantages) == len(sample.completion_ids)
        assert (await (await connect_async(service.address)).audit()).violations == []


async def test_paths_below_a_split_weigh_nothing_and_the_first_answers_weigh_one_in_all() -> None:
    async with local_service() as service:
        _, trees = await grow(service)
        for tree in trees:
            assert sum(sample.path_weight for sample in tree.samples) == pytest.approx(1.0)
            assert sorted(sample.path_weight for sample in tree.samples)[-3:] == [0.0, 0.5, 0.5]


async def test_credit_of_a_split_tree_is_the_same_from_memory_and_from_the_store() -> None:
    for advantage in ("treerl", "ib_tpo"):  # by shape and rewards, and by log probabilities too
        async with local_service() as service:
            run, trees = await grow(service, advantage={"name": advantage})
            for tree in trees:
                leaf = tree.samples[0].path_node_ids[-1]
                await run.report_rewards([(tree.tree_id, leaf, 5.0)])  # not in force, but credits anew
                after = await run.get_tree(tree.tree_id)
                assert [s.advantages.tolist() for s in after.samples] == [s.advantages.tolist() for s in tree.samples]


async def test_the_beginning_of_a_split_segment_takes_no_rewards() -> None:
    async with local_service() as service:
        run, trees = await grow(service)
        head = next(node for node in trees[0].nodes if node.depth == 1 and node.status == "inner")
        with pytest.raises(InvalidInput, match="segment that was split"):
            await run.report_rewards([(trees[0].tree_id, head.node_id, 1.0)])


async def test_what_every_engine_generated_is_in_a_sample_or_counted_as_waste() -> None:
    async with local_service() as service:
        run, trees = await grow(service)
        status = await run.status()
        unique = sum(len(node.token_ids) for tree in trees for node in tree.nodes if node.parent_id is not None)
        assert status.ledger.spent == unique + status.wasted_tokens


async def test_a_growing_tree_can_be_looked_at_while_it_is_split() -> None:
    async with local_service() as service:
        service.start_replica("r0", slots=1)
        client = await connect_async(service.address)
        run = await client.create_run("run", **RUN)
        await run.submit(read_tasks(TASKS_FILE, limit=1))
        await run.close()

        async def deepest() -> int:
            for live in service.coordinator.state.trees.values():
                tree = await run.get_tree(live.tree_id)
                return max((node.depth for node in tree.nodes), default=0)
            return 2  # it ended before it was looked at

        async with asyncio.timeout(300):
            while await deepest() < 2:  # noqa: ASYNC110 - every look is a call to the service
                await asyncio.sleep(0)
