"""What the service says of itself once a second, next to what it answers and what is stored."""

import asyncio
import time

import pytest
from tests.support.eventually import eventually

from treeroll.client import AsyncClient, TreeRecord, connect_async
from treeroll.demo import TASKS_FILE
from treeroll.errors import StoreDown
from treeroll.pb.v1.common_pb2 import Tree
from treeroll.pb.v1.rollout_pb2 import Run
from treeroll.pb.v1.watch_pb2 import Snapshot
from treeroll.store.base import Store
from treeroll.store.memory import MemoryStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

TREEPO = {"recipe": "treepo", "leaves": 8, "segment_tokens": 32, "scorer": "arith", "seed": 5}


async def latest(store: Store) -> Snapshot:
    return Snapshot.FromString(await store.load_snapshot() or b"")


async def grown(client: AsyncClient, tasks: int = 4) -> list[TreeRecord]:
    """The trees of a run, which all have ended and are acknowledged."""
    run = await client.create_run("run", **TREEPO)
    await run.submit(read_tasks(TASKS_FILE, limit=tasks))
    await run.close()
    trees = []
    async for batch in run.batches():
        trees += batch.trees
        await batch.ack()
    return trees


async def test_a_snapshot_says_of_runs_and_replicas_what_the_service_answers(
    service: LocalService, client: AsyncClient
) -> None:
    trees = await grown(client)

    async def said() -> Snapshot | None:
        snapshot = await latest(service.store)
        counted = snapshot.totals.finished == 4 and snapshot.groups and snapshot.groups[0].acknowledged == 4
        return snapshot if counted else None

    await eventually(said, interval_s=0.1)
    snapshot = await latest(service.store)
    status, run = await client.status(), await (await client.run("run")).status()
    [record] = snapshot.runs
    assert (record.run_id, record.finished, record.leaves) == ("run", run.finished, run.leaves)
    assert (snapshot.totals.spent, snapshot.totals.leaves) == (run.ledger.spent, run.leaves)
    assert not record.config_json
    signals = [sum(any(sample.advantages) for sample in tree.samples) for tree in trees]
    assert (record.scored_trees, record.trees_without_signal, record.effective_leaves) == (
        4,
        signals.count(0),
        sum(signals),
    )
    by_cause = record.late_tokens + record.dropped_tokens + record.pruned_tokens + record.censored_tokens
    assert by_cause == record.wasted_tokens == run.wasted_tokens
    [replica] = snapshot.replicas
    assert (replica.replica_id, replica.state, replica.slots) == ("r0", "ready", 32)
    assert replica.reported_tokens == status.replicas[0].generated_tokens > 0
    [pool] = snapshot.pools
    assert (pool.ready_replicas, pool.slots, pool.running, pool.waiting_slot) == (1, 32, 0, 0)
    [group] = snapshot.groups
    assert (group.waiting, group.leased, group.stuck_s) == (0, 0, 0)
    [scorer] = snapshot.scorers
    assert (scorer.scorer, scorer.scored, scorer.failed) == ("arith", run.leaves, 0)
    assert (snapshot.epoch, snapshot.durability) == (status.epoch, status.durability)
    assert sum(snapshot.loop.commit_s.counts) > 0
    assert sum(snapshot.loop.tick_records.counts) == snapshot.loop.ticks
    assert not snapshot.violations


async def test_points_of_the_history_are_snapshots_without_tables(service: LocalService, client: AsyncClient) -> None:
    await grown(client)

    async def finished() -> bool:
        points = await service.store.load_points()
        return len(points) > 1 and Snapshot.FromString(points[-1][1]).totals.finished == 4

    await eventually(finished, interval_s=0.1)
    points = [Snapshot.FromString(point) for _, point in await service.store.load_points()]
    assert all(not (point.runs or point.replicas or point.groups) for point in points)
    assert [point.at for point in points] == sorted(point.at for point in points)
    assert max(map(Snapshot.ByteSize, points)) < 1500


async def test_why_a_replica_was_lost_stays_in_what_the_service_says(service: LocalService) -> None:
    await service.joined()
    service.lose("r0", 1)

    async def lost() -> bool:
        replicas = (await latest(service.store)).replicas
        return bool(replicas and replicas[0].losses)

    await eventually(lost, interval_s=0.1)
    [replica] = (await latest(service.store)).replicas
    assert (replica.losses, replica.recent_losses, replica.lost_cause) == (1, 1, "its process died")
    assert replica.lost_at > 0


async def test_a_broken_promise_is_told_with_what_was_seen(service: LocalService) -> None:
    service.coordinator.figures.broke("Bounded", "Bounded: a queue has no end")

    async def told() -> bool:
        return bool((await latest(service.store)).violations)

    await eventually(told, interval_s=0.1)
    [broken] = (await latest(service.store)).violations
    assert (broken.invariant, broken.times, broken.detail) == ("Bounded", 1, "Bounded: a queue has no end")


class SilentStore(MemoryStore):
    """It takes commits, and keeps those waiting for ever who say how they are; then it does not answer these."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.answers = asyncio.Event()

    async def save_snapshot(self, snapshot: bytes, point: bytes, epoch: int) -> None:
        self.asked += 1
        await self.answers.wait()
        raise StoreDown("no answer came")


async def test_trees_grow_while_the_store_takes_no_snapshots() -> None:
    store = SilentStore()
    async with local_service(store) as service:
        service.start_replica("r0", slots=32)
        async with await connect_async(service.address) as client:
            await grown(client)
        assert store.asked == 1  # and none beside it
        store.answers.set()

        async def again() -> bool:
            return store.asked > 1

        await eventually(again, interval_s=0.1)


async def test_a_tree_says_when_it_was_and_what_of_it_was_wasted_as_its_run_does(
    service: LocalService, client: AsyncClient
) -> None:
    before = time.time()
    trees = await grown(client)
    stored = await service.store.load_trees([tree.tree_id for tree in trees])
    headers = [Tree.FromString(tree.header) for tree in stored if tree is not None]
    assert len(headers) == 4
    record = Run.FromString(await service.store.load_run("run") or b"")
    for cause in ("late_tokens", "dropped_tokens", "pruned_tokens", "censored_tokens"):
        assert sum(getattr(header, cause) for header in headers) == getattr(record, cause)
    for header, tree in zip(headers, trees, strict=True):
        assert before <= header.submitted_at <= header.started_at < header.ended_at <= time.time()
        assert header.ended_at - header.started_at == pytest.approx(header.wall_s, abs=0.01)
        assert header.n_nodes <= len(tree.nodes)
        assert list(header.replicas) == sorted({node.replica_id for node in tree.nodes if node.replica_id})
