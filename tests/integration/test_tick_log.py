"""What a service writes of its decisions, next to the trees that came of them."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from tests.support.eventually import eventually

from treeroll.client import AsyncClient, TreeRecord, connect_async
from treeroll.coordinator.tick_log import TickLog
from treeroll.demo import TASKS_FILE
from treeroll.errors import StoreDown
from treeroll.records.events import FLEET_KINDS, TREE_KINDS, Event, Gap, Tick, read
from treeroll.store.base import Commit, Log, Store
from treeroll.store.memory import MemoryStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

TREEPO = {"recipe": "treepo", "leaves": 8, "segment_tokens": 32, "scorer": "arith", "seed": 5}


@pytest.fixture
async def service(store: Store) -> AsyncIterator[LocalService]:
    async with local_service(store, events_mb=64) as service:
        service.start_replica("r0", slots=32)
        yield service


async def said(store: Store, log: Log = "ticks") -> list[Event]:
    """All that is there, without a gap."""
    events: list[Event] = []
    for part in read(await store.load_log(log, 0, 100_000), 0):
        assert isinstance(part, Tick), part
        assert not isinstance(part, Gap)
        events += part.events
    return events


async def grown(client: AsyncClient, tasks: int = 4) -> list[TreeRecord]:
    run = await client.create_run("run", **TREEPO)
    await run.submit(read_tasks(TASKS_FILE, limit=tasks))
    await run.close()
    return [tree async for batch in run.batches() for tree in batch.trees]


async def test_every_fork_grant_and_end_of_a_tree_is_said_with_what_its_record_says(
    service: LocalService, client: AsyncClient
) -> None:
    trees = await grown(client)
    events = await said(service.store)
    assert {event.kind for event in events} <= set(TREE_KINDS)
    assert {event.run for event in events} == {"run"}
    for tree in trees:
        of_tree = [event for event in events if event.tree == tree.tree_id]
        nodes = {node.path: node for node in tree.nodes}
        forked = {event.path: event for event in of_tree if event.kind == "forked"}
        assert forked.keys() == {path for path, node in nodes.items() if node.why is not None}
        assert all(event.explained == nodes[path].why for path, event in forked.items())
        ended = {event.path: event for event in of_tree if event.kind == "ended_path"}
        assert ended.keys() == {path for path, node in nodes.items() if node.status in ("leaf", "pruned")}
        assert all(
            (event.reason, event.detail, event.explained)
            == (nodes[path].stop_reason, nodes[path].status, nodes[path].ended_by)
            for path, event in ended.items()
        )
        granted = {event.path: event for event in of_tree if event.kind == "granted"}
        assert granted.keys() == {path for path, node in nodes.items() if node.waited_s is not None}
        assert all(event.seconds == nodes[path].waited_s for path, event in granted.items())
        kinds = Counter(event.kind for event in of_tree)
        assert (kinds["started"], kinds["ended"]) == (1, 1)
        order = [event.kind for event in of_tree]
        assert order[0] == "started"
        assert order.index("forked") < order.index("granted") < order.index("ended_path") < order.index("ended")


async def test_what_happened_to_fleet_and_runs_is_said_apart_from_decisions(
    service: LocalService, client: AsyncClient
) -> None:
    await grown(client, tasks=1)
    await client.drain()
    service.lose("r0", 1)
    service.coordinator.note(Event("store_paused", seconds=2.5, detail="it did not answer"))

    async def lost() -> bool:
        happened = await said(service.store, "happenings")
        return {"replica_lost", "store_paused"} <= {event.kind for event in happened}

    await eventually(lost, interval_s=0.1)
    happened = await said(service.store, "happenings")
    assert {event.kind for event in happened} <= set(FLEET_KINDS)
    by_kind = {event.kind: event for event in happened}
    assert by_kind["replica_lost"].reason == "its process died"
    assert by_kind["tasks_submitted"].count == 1
    assert by_kind["took_over"].count == service.coordinator.epoch
    assert {"run_created", "run_closed", "drained", "replica_joined"} <= by_kind.keys()


class PausingStore(MemoryStore):
    """It takes no commit for a while, once trees grow."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        self.refused = 0

    async def commit(self, commit: Commit, epoch: int) -> None:
        self.commits += bool(commit.nodes)
        if self.commits > 5 and self.refused < 3:
            self.refused += 1
            raise StoreDown("it does not answer")
        await super().commit(commit, epoch)


async def test_a_pause_of_the_store_is_said_and_loses_nothing_that_was_decided() -> None:
    store = PausingStore()
    async with local_service(store, events_mb=64) as service:
        service.start_replica("r0", slots=32)
        async with await connect_async(service.address) as client:
            trees = await grown(client)
        events = await said(store)  # which has no gap
        happened = await said(store, "happenings")
    assert store.refused == 3
    [pause] = [event for event in happened if event.kind == "store_paused"]
    assert pause.seconds > 0
    assert "it does not answer" in pause.detail
    ended = Counter((event.tree, event.path) for event in events if event.kind == "ended_path")
    assert ended == Counter(
        (tree.tree_id, node.path) for tree in trees for node in tree.nodes if node.status in ("leaf", "pruned")
    )


async def test_without_room_for_decisions_none_are_written_and_what_happened_still_is(
    service: LocalService, client: AsyncClient
) -> None:
    before = await said(service.store)
    service.coordinator.log = TickLog(service.coordinator.epoch, 0)
    await grown(client, tasks=1)
    assert await said(service.store) == before
    assert "run_created" in {event.kind for event in await said(service.store, "happenings")}


async def test_what_a_store_keeps_is_bounded_and_what_is_gone_is_a_gap(
    service: LocalService, client: AsyncClient
) -> None:
    log = TickLog(service.coordinator.epoch, 1)
    log._kept = 2000
    service.coordinator.log = log
    await grown(client, tasks=4)
    parts = list(read(await service.store.load_log("ticks", 0, 100_000), 0))
    assert isinstance(parts[0], Gap)
    assert all(isinstance(part, Tick) for part in parts[1:])
    kept = sum(len(blob) for _, blob in await service.store.load_log("ticks", 0, 100_000))
    assert kept < 20_000
