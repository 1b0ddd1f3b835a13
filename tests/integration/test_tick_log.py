"""What a service writes of its decisions, next to the trees that came of them."""

from collections import Counter

from tests.support.eventually import eventually

from treeroll.client import AsyncClient, TreeRecord
from treeroll.demo import TASKS_FILE
from treeroll.records.events import FLEET_KINDS, TREE_KINDS, Event, Gap, Tick, read
from treeroll.store.base import Log, Store
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService

TREEPO = {"recipe": "treepo", "leaves": 8, "segment_tokens": 32, "scorer": "arith", "seed": 5}


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
