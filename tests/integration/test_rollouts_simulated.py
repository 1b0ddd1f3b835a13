"""Whole runs over real gRPC with simulated replicas: what trainers receive, whatever the time and place."""

import asyncio
from collections import Counter
from dataclasses import fields
from typing import Any

import pytest
from tests.support.eventually import eventually
from tests.support.pace import halting_engine

from treeroll.boxed import last_boxed
from treeroll.client import AsyncRun, Node, Sample, connect_async
from treeroll.client.records import TreeRecord
from treeroll.demo import TASKS_FILE
from treeroll.errors import LeaseLost, RewardConflict, UnknownNode
from treeroll.generator.config import SimulatedLatency
from treeroll.policies.allocate.majority import leader_gain
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

RUN: dict[str, Any] = {
    "recipe": "treepo", "leaves": 8, "segment_tokens": 32, "max_depth": 10, "scorer": "arith", "seed": 5,
}  # fmt: skip
# Columns that name a place, a time or an attempt.
PLACES = {
    "replica_id", "incarnation", "attempt", "started_at", "finished_at", "cached_tokens", "recomputed_tokens",
    "dropped_tokens", "number", "waited_s", "masked_by",
}  # fmt: skip


def tasks(count: int) -> list[Any]:
    return list(read_tasks(TASKS_FILE, limit=count))


async def grow(service: LocalService, count: int = 12, **changes: Any) -> tuple[AsyncRun, list[TreeRecord]]:
    client = await connect_async(service.address)
    run = await client.create_run("run", **{**RUN, **changes})
    await run.submit(tasks(count))
    await run.close()
    trees = [tree async for batch in run.batches(trees=4) for tree in batch.trees]
    return run, trees


def rows(trees: list[TreeRecord]) -> list[dict[str, Any]]:
    """Every node and sample column that must not depend on time or place, by task and preorder."""
    found = []
    for tree in sorted(trees, key=lambda t: t.task_id):
        for node in tree.nodes:
            row = {name: plain(getattr(node, name)) for name in names(node) if name not in PLACES}
            found.append({"task": tree.task_id, **row})
        for sample in tree.samples:
            found.append({name: plain(getattr(sample, name)) for name in names(sample)})
    return found


def names(record: Node | Sample) -> list[str]:
    return [field.name for field in fields(record)]


def plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


LINES = {"name": "delimiter", "texts": ["\n"]}
GROWTHS: dict[str, dict[str, Any]] = {
    "level": {"branch": {"sync": "level"}},
    "path": {"branch": {"sync": "path"}},
    "delimiters": {"segment": LINES},
    "cuts": {"recipe": "treerl", "leaves": 10, "branch": {"chains": 2, "places": 1, "rounds": 2, "forks": 2}},
}


@pytest.mark.parametrize("growth", GROWTHS)
async def test_rows_are_identical_with_other_fleets_and_latencies_and_after_a_replica_dies(growth: str) -> None:
    changes = GROWTHS[growth]
    async with local_service() as service:
        service.start_replica("r0", slots=64)
        _, alone = await grow(service, **changes)
    async with local_service() as service:
        for i in range(3):
            service.start_replica(f"r{i}", slots=6, latency=SimulatedLatency(step_s=0.0002 * (i + 1), jitter=0.9))
        _, fleet = await grow(service, **changes)
    async with local_service() as service:
        service.start_replica("r0", slots=8, latency=SimulatedLatency(step_s=0.001))
        victim = service.start_replica("r1", slots=8, latency=SimulatedLatency(step_s=0.001))
        killer = asyncio.create_task(kill_when_busy(service, victim))
        run, survivors = await grow(service, **changes)
        await killer
        assert (await run.status()).regrants > 0
    assert rows(fleet) == rows(alone)
    assert rows(survivors) == rows(alone)


async def kill_when_busy(service: LocalService, victim: "asyncio.Task[None]", tell: bool = True) -> None:
    """End replica r1 while it serves; `tell`: the supervisor notices, else only its silence does."""
    state = service.coordinator.state

    async def busy() -> bool:
        return "r1" in state.replicas and len(state.replicas["r1"].grants) >= 4

    await eventually(busy)
    victim.cancel()
    if tell:
        service.lose("r1", 1)


async def test_a_run_ends_with_every_task_once_and_a_clean_audit() -> None:
    async with local_service() as service:
        service.start_replica("r0")
        service.start_replica("r1")
        run, trees = await grow(service, count=20)
        assert sorted(tree.task_id for tree in trees) == sorted(task.id for task in tasks(20))
        client = await connect_async(service.address)
        report = await client.audit()
        assert report.violations == []
        assert report.trees == 20
        status = await run.status()
        assert status.ledger.outstanding == 0
        sampled = sum(node.token_ids.size for tree in trees for node in tree.nodes if node.depth)
        assert status.ledger.spent == sampled + status.wasted_tokens
        for tree in trees:
            assert len(tree.samples) == 8
            assert all(sample.reward in (0.0, 1.0) for sample in tree.samples)


async def test_forked_children_recompute_one_token_at_aligned_boundaries() -> None:
    async with local_service() as service:
        service.start_replica("r0", slots=64)
        run, _ = await grow(service)
        status = await run.status()
        assert status.fork_requests > 20
        assert status.fork_recomputed_tokens == status.fork_requests


async def test_a_silent_replica_loses_its_lease_and_its_branches_are_granted_again() -> None:
    async with local_service() as service:
        silent = service.serve_engine(halting_engine(0, slots=4), "r1")
        running = asyncio.create_task(grow(service, count=3))
        await kill_when_busy(service, silent, tell=False)
        service.start_replica("r2", slots=16)
        run, trees = await running
        assert len(trees) == 3
        assert (await run.status()).regrants >= 4


async def test_rewards_are_written_back_once_and_credit_follows() -> None:
    async with local_service() as service:
        service.start_replica("r0")
        run, trees = await grow(service, count=2, scorer="client")
        tree = trees[0]
        assert {sample.reward_status for sample in tree.samples} == {"missing"}
        rewards = [(tree.tree_id, sample.path_node_ids[-1], float(i % 2)) for i, sample in enumerate(tree.samples)]
        counts = await run.report_rewards(rewards)
        assert (counts.applied, counts.repeated) == (8, 0)
        counts = await run.report_rewards(rewards)
        assert (counts.applied, counts.repeated) == (0, 8)
        with pytest.raises(RewardConflict, match="already has reward"):
            await run.report_rewards([(*rewards[0][:2], 7.0)])
        with pytest.raises(UnknownNode, match=r"has no node '9\.9'"):
            await run.report_rewards([(tree.tree_id, "9.9", 1.0)])
        after = await run.get_tree(tree.tree_id)
        assert [sample.reward for sample in after.samples] == [float(i % 2) for i in range(8)]
        assert all(sample.advantages is not None for sample in after.samples)
        await run.report_rewards([(*rewards[0][:2], 7.0)], version=2)
        assert (await run.get_tree(tree.tree_id)).samples[0].reward == 7.0


async def test_credit_from_the_stored_tree_equals_credit_from_memory() -> None:
    # ib_tpo reads what other estimators do not: log probabilities, as reported and as stored.
    async with local_service() as service:
        service.start_replica("r0")
        run, trees = await grow(service, count=6, advantage={"name": "ib_tpo"})
        tree = next(tree for tree in trees if 0 < sum(sample.reward or 0 for sample in tree.samples) < 8)
        leaf = tree.samples[0]
        await run.report_rewards([(tree.tree_id, leaf.path_node_ids[-1], 5.0)])  # not in force, but credits anew
        after = await run.get_tree(tree.tree_id)
        assert [plain(s.advantages) for s in after.samples] == [plain(s.advantages) for s in tree.samples]


async def test_a_reward_of_an_inner_node_changes_the_credit_of_its_candidates() -> None:
    async with local_service() as service:
        service.start_replica("r0")
        run, trees = await grow(service, count=1, scorer="client", advantage={"name": "mars2"})
        tree = trees[0]
        rewards = [(tree.tree_id, s.path_node_ids[-1], float(i % 2)) for i, s in enumerate(tree.samples)]
        await run.report_rewards(rewards)
        before = await run.get_tree(tree.tree_id)
        await run.report_rewards([(tree.tree_id, tree.samples[0].path_node_ids[0], 0.25)])
        after = await run.get_tree(tree.tree_id)
        first, credited = before.samples[0].advantages, after.samples[0].advantages
        assert first is not None
        assert credited is not None
        assert first[0] == first[-1]  # one candidate owns the whole path
        assert credited[0] != credited[-1]  # the inner node owns its beginning
        assert after.n_scored == before.n_scored == 8


async def test_two_groups_each_receive_every_tree_once() -> None:
    async with local_service() as service:
        service.start_replica("r0")
        client = await connect_async(service.address)
        run = await client.create_run("run", **RUN)
        await run.submit(tasks(15))
        await run.close()

        async def consume(group: str) -> list[str]:
            return [tree.task_id async for batch in run.batches(trees=4, group=group) for tree in batch.trees]

        first, second = await asyncio.gather(consume("a"), consume("b"))
        assert sorted(first) == sorted(second) == sorted(task.id for task in tasks(15))


async def test_a_lease_that_moved_on_cannot_be_acknowledged() -> None:
    async with local_service() as service:
        service.start_replica("r0")
        client = await connect_async(service.address)
        run = await client.create_run("run", **RUN)
        await run.submit(tasks(1))
        await run.close()
        batches = aiter(run.batches(trees=1, consumer="slow", lease_s=60))
        batch = await anext(batches)
        store = service.store
        [lost] = [delivery.lease_id for delivery in batch.deliveries]
        assert await store.release("run", "default", [lost]) == []
        assert len(await store.lease("run", "default", "other", 1, 60.0)) == 1
        with pytest.raises(LeaseLost, match=batch.trees[0].tree_id):
            await batch.ack()


async def test_a_budget_cuts_trees_and_says_so_but_never_overruns() -> None:
    async with local_service() as service:
        service.start_replica("r0")
        client = await connect_async(service.address)
        run = await client.create_run("run", **{**RUN, "budget_tokens": 3000})
        await run.submit(tasks(12))
        await run.close()
        ended = [batch async for batch in run.batches(trees=50, allow_empty=True)]
        trees = [tree for batch in ended for tree in batch.trees]
        failures = [failure for batch in ended for failure in batch.failures]
        assert len(trees) + len(failures) == 12
        assert (await run.status()).ledger.spent <= 3000
        assert all("budget" in tree.error for tree in trees if tree.status == "partial")
        assert failures


@pytest.mark.parametrize("segment", [{}, LINES], ids=["lengths", "lines"])
async def test_held_branches_grow_the_same_trees_as_running_ones(segment: dict[str, object]) -> None:
    async with local_service() as service:
        service.start_replica("r0")
        _, running = await grow(service, count=6, segment=segment)
    async with local_service() as service:
        service.start_replica("r0")
        _, held = await grow(service, count=6, segment={**segment, "hold": True})
    assert rows(held) == rows(running)


async def test_segments_are_lines_where_a_newline_ends_them() -> None:
    async with local_service() as service:
        service.start_replica("r0")
        run, trees = await grow(service, segment=LINES)
        status = await run.status()
        assert (await (await connect_async(service.address)).audit()).violations == []
    inner = [node for tree in trees for node in tree.nodes if node.depth and node.status == "inner"]
    assert inner
    assert all(node.text.endswith("\n") and node.text.count("\n") == 1 for node in inner)
    assert len({len(node.token_ids) for node in inner}) > 5
    # Such boundaries are not aligned: a fork recomputes up to one block of 32.
    assert status.fork_requests < status.fork_recomputed_tokens <= 32 * status.fork_requests
    assert {len(tree.samples) for tree in trees} == {8}


async def test_pets_samples_each_task_until_its_own_answers_agree() -> None:
    leaves = 12
    async with local_service() as service:
        service.start_replica("r0", slots=64)
        _, trees = await grow(service, recipe="pets", leaves=leaves)
    counts = set()
    for tree in trees:
        answers = [last_boxed(sample.completion_text) for sample in sorted(tree.samples, key=sibling)]
        counts.add(len(answers))
        gains = [leader_gain(list(Counter(answers[:asked]).values())) for asked in range(4, len(answers) + 1)]
        assert all(gain > 0.02 for gain in gains[:-1])
        rest_decides = leaves - len(answers) >= lead(answers)
        assert len(answers) == leaves or gains[-1] <= 0.02 or not rest_decides
    assert min(counts) == 4 < max(counts)


def sibling(sample: Sample) -> int:
    return int(sample.path_node_ids[0].rpartition(":")[2])


def lead(answers: list[Any]) -> int:
    first, second, *_ = (*sorted(Counter(answers).values(), reverse=True), 0)
    return first - second
