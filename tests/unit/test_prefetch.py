"""Fetching ahead, over leases that the test hands out."""

import asyncio
from typing import Any, cast

import pytest

from treeroll.client.fetch_size import FIRST_PIECE, PIECE_BYTES, FetchSize
from treeroll.client.prefetch import Prefetch
from treeroll.errors import Unavailable
from treeroll.pb.v1 import common_pb2, rollout_pb2


class FakeLeases:
    """A feed of `ended` trees. `gate` holds answers back; `failures` answer first."""

    def __init__(self, ended: int) -> None:
        self.ended = ended
        self.lent = 0
        self.asked: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[Exception] = []

    async def take(self, count: int, wait_s: float) -> rollout_pb2.LeaseTreesReply:
        assert wait_s == 0.0
        self.asked.append(count)
        first = self.lent + 1
        self.lent = min(self.lent + count, self.ended)
        lent = range(first, self.lent + 1)
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop()
        # The last trees of an answer first: order is not the service's promise.
        return rollout_pb2.LeaseTreesReply(deliveries=[rollout_pb2.Delivery(delivery_seq=seq) for seq in lent[::-1]])


def prefetch_of(leases: FakeLeases) -> Prefetch:
    return Prefetch(cast(Any, leases), FetchSize())


def order(deliveries: list[rollout_pb2.Delivery]) -> list[int]:
    return [delivery.delivery_seq for delivery in deliveries]


async def test_trees_come_in_the_order_of_the_feed_and_what_is_too_much_stays() -> None:
    prefetch = prefetch_of(FakeLeases(ended=100))
    prefetch.fill(3 * FIRST_PIECE)
    assert order(await prefetch.take(20)) == list(range(1, 21))
    assert order(await prefetch.take(20)) == [21, 22, 23, 24]
    assert await prefetch.take(20) == []


async def test_what_is_here_or_on_its_way_is_not_asked_for_again() -> None:
    leases = FakeLeases(ended=100)
    leases.gate.clear()
    prefetch = prefetch_of(leases)
    prefetch.fill(5)
    prefetch.fill(5)
    prefetch.fill(7)
    leases.gate.set()
    assert order(await prefetch.take(7)) == list(range(1, 8))
    assert sum(leases.asked) == 7


async def test_the_batch_after_next_is_asked_for_while_the_next_one_travels() -> None:
    leases = FakeLeases(ended=100)
    leases.gate.clear()
    prefetch = prefetch_of(leases)
    prefetch.fill(4)
    taking = asyncio.create_task(prefetch.take(4))
    await asyncio.sleep(0)
    prefetch.fill(8)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert leases.asked == [4, 4]
    assert not taking.done()
    leases.gate.set()
    assert order(await taking) == [1, 2, 3, 4]


async def test_a_short_answer_ends_the_asking_until_the_next_time() -> None:
    leases = FakeLeases(ended=3)
    prefetch = prefetch_of(leases)
    prefetch.fill(10 * FIRST_PIECE)
    assert order(await prefetch.take(80)) == [1, 2, 3]
    assert len(leases.asked) <= 2
    leases.ended = 5
    prefetch.fill(4)
    assert order(await prefetch.take(4)) == [4, 5]


async def test_trouble_is_logged_and_what_came_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    leases = FakeLeases(ended=100)
    leases.failures = [Unavailable("nobody answers")]
    prefetch = prefetch_of(leases)
    prefetch.fill(2 * FIRST_PIECE)
    assert len(await prefetch.take(2 * FIRST_PIECE)) == FIRST_PIECE
    assert "could not be fetched ahead: nobody answers" in caplog.text


async def test_after_closing_nothing_more_is_asked_for() -> None:
    leases = FakeLeases(ended=1000)
    leases.gate.clear()
    prefetch = prefetch_of(leases)
    prefetch.fill(100 * FIRST_PIECE)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    closing = asyncio.create_task(prefetch.close())
    await asyncio.sleep(0)
    asked = list(leases.asked)
    leases.gate.set()
    await closing
    assert leases.asked == asked


def test_a_piece_has_as_many_trees_as_make_a_message() -> None:
    piece = FetchSize()
    tree = common_pb2.Tree(nodes=[common_pb2.Node(token_ids=bytes(PIECE_BYTES // 10))])
    piece.weigh([rollout_pb2.Delivery(tree=tree)])
    assert piece.trees == 9
    piece.weigh([])
    assert piece.trees == 9
