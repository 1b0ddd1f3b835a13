"""Consumers that wait for the same ask the store once between them, and each gets what there is for it."""

import asyncio
from collections.abc import Iterator

import pytest

from treeroll import clock
from treeroll.core.model.run import DeliveryTerms, Outlook
from treeroll.feed.feed import Feed
from treeroll.feed.waiting import RECHECK_S
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.base import Commit, Lease
from treeroll.store.memory import MemoryStore

CONSUMERS = 200


class CountingStore(MemoryStore):
    """Counts how often it is asked for leases."""

    asked = 0

    async def lease(
        self, run_id: str, group: str, consumer: str, count: int, lease_s: float, epoch: int | None = None
    ) -> list[Lease]:
        self.asked += 1
        return await super().lease(run_id, group, consumer, count, lease_s, epoch)


@pytest.fixture
def now() -> Iterator[list[float]]:
    """The time, as the only element: it stands still."""
    time = [0.0]
    clock.read_from(monotonic=lambda: time[0])
    yield time
    clock.read_from()


def request(consumer: int, holds: bool = False) -> api.LeaseTreesRequest:
    return api.LeaseTreesRequest(
        run_id="run", group="g", consumer=str(consumer), max_trees=1, lease_s=60.0, wait_s=60.0, holds=holds
    )


async def ended(store: MemoryStore, feed: Feed, *trees: str) -> None:
    headers = {tree: pb.Tree(tree_id=tree, run_id="run", status="complete").SerializeToString() for tree in trees}
    await store.commit(Commit(trees=headers, feed=[("run", tree) for tree in trees]), 1)
    feed.notify("run")


async def settle() -> None:
    """Everybody has done what he can without time."""
    for _ in range(20 * CONSUMERS):
        await asyncio.sleep(0)


async def test_of_many_that_wait_one_looks_and_those_that_there_is_something_for_get_it(now: list[float]) -> None:
    store = CountingStore()
    await store.open()
    outlook = Outlook(total=None, ended=3, waiting=0, drained=False, stuck="")
    feed = Feed(store, lambda _: outlook, lambda _: DeliveryTerms({"": 0}, None), 1)
    waiting = [asyncio.create_task(feed.lease(request(consumer))) for consumer in range(CONSUMERS)]
    await settle()
    assert store.asked == CONSUMERS  # each when it came
    feed.notify("run")
    await settle()
    assert store.asked == CONSUMERS + 1
    await ended(store, feed, "a", "b", "c")
    done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await settle()
    assert store.asked == CONSUMERS + 1 + 3 + 1
    assert sum(task.done() for task in waiting) == 3
    now[0] += 2 * RECHECK_S  # leases of others may have ended
    feed.notify("run")
    await settle()
    assert store.asked == CONSUMERS + 1 + 3 + 1 + 1
    for task in (*done, *rest):
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not feed._crowds._crowds


async def test_one_who_holds_trees_is_told_of_the_end_though_others_wait(now: list[float]) -> None:
    store = CountingStore()
    await store.open()
    outlook = Outlook(total=1, ended=1, waiting=0, drained=False, stuck="")
    feed = Feed(store, lambda _: outlook, lambda _: DeliveryTerms({"": 0}, None), 1)
    await ended(store, feed, "a")
    assert api.LeaseTreesReply.FromString(await feed.lease(request(0))).deliveries
    other = asyncio.create_task(feed.lease(request(1)))
    await settle()
    assert api.LeaseTreesReply.FromString(await feed.lease(request(0, holds=True))).exhausted
    assert not other.done()
    other.cancel()
