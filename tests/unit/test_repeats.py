"""A request for trees that is sent again gets what it was given, and no more; whatever became of its first caller."""

import asyncio

import pytest

from treeroll.errors import GroupMoved
from treeroll.feed import repeats as module
from treeroll.feed.repeats import Repeats
from treeroll.pb.v1.rollout_pb2 import LeaseTreesRequest
from treeroll.store.base import Commit, GroupState, Lease, Move
from treeroll.store.memory import MemoryStore


class SlowStore(MemoryStore):
    """Lends when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def lease(
        self, run_id: str, group: str, consumer: str, count: int, lease_s: float, epoch: int | None = None
    ) -> list[Lease]:
        self.asked.set()
        await self.go.wait()
        return await super().lease(run_id, group, consumer, count, lease_s, epoch)


@pytest.fixture
async def store() -> SlowStore:
    store = SlowStore()
    await store.commit(Commit(feed=[("run", tree) for tree in "abcdef"]), await store.open())
    return store


def request(request_id: str, consumer: str = "c", epoch: int | None = None) -> LeaseTreesRequest:
    return LeaseTreesRequest(
        run_id="run", group="g", consumer=consumer, max_trees=2, lease_s=60.0, request_id=request_id, group_epoch=epoch
    )


def seqs(leases: list[Lease]) -> list[int]:
    return [lease.seq for lease in leases]


async def test_the_same_request_has_the_same_leases_and_others_have_others(store: SlowStore) -> None:
    repeats = Repeats(store)
    first = await repeats.lend(request("one"))
    assert [await repeats.lend(request("one")) for _ in range(3)] == [first] * 3
    assert seqs(await repeats.lend(request("two"))) == [3, 4]
    assert seqs(await repeats.lend(request("one", consumer="d"))) == [5, 6]
    assert await store.group_state("run", "g") == GroupState(0, 6, 0)


async def test_requests_without_a_name_are_each_their_own(store: SlowStore) -> None:
    repeats = Repeats(store)
    assert [seqs(await repeats.lend(request(""))) for _ in range(3)] == [[1, 2], [3, 4], [5, 6]]


async def test_a_request_that_got_nothing_gets_what_comes(store: SlowStore) -> None:
    repeats = Repeats(store)
    await store.lease("run", "g", "other", 6, 60.0)
    assert await repeats.lend(request("one")) == []
    await store.commit(Commit(feed=[("run", "g")]), 1)
    assert seqs(await repeats.lend(request("one"))) == [7]


async def test_what_it_has_no_more_is_not_given_again(store: SlowStore) -> None:
    repeats = Repeats(store)
    first, second = [lease.lease_id for lease in await repeats.lend(request("one"))]
    await store.ack("run", "g", [first])
    assert [lease.lease_id for lease in await repeats.lend(request("one"))] == [second]
    await store.release("run", "g", [second])
    assert [(lease.seq, lease.times_delivered) for lease in await repeats.lend(request("one"))] == [(2, 2), (3, 1)]


async def test_a_repeated_request_restarts_the_clocks_of_its_leases(store: SlowStore) -> None:
    now = 0.0
    store._clock = lambda: now
    repeats = Repeats(store)
    first = await repeats.lend(request("one"))
    now = 50.0
    assert await repeats.lend(request("one")) == first
    now = 100.0
    assert (await store.group_state("run", "g")).leased == 2


async def test_a_caller_that_goes_away_leaves_its_leases_to_its_next_call(store: SlowStore) -> None:
    repeats = Repeats(store)
    store.go.clear()
    gone = asyncio.create_task(repeats.lend(request("one")))
    await store.asked.wait()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    again = asyncio.create_task(repeats.lend(request("one")))
    store.go.set()
    assert seqs(await again) == [1, 2]
    assert await store.group_state("run", "g") == GroupState(0, 2, 4)


async def test_calls_at_the_same_time_share_one_answer(store: SlowStore) -> None:
    repeats = Repeats(store)
    answers = await asyncio.gather(*(repeats.lend(request("one")) for _ in range(5)))
    assert [seqs(answer) for answer in answers] == [[1, 2]] * 5


async def test_a_request_of_before_its_group_was_moved_gets_nothing(store: SlowStore) -> None:
    repeats = Repeats(store)
    await repeats.lend(request("one", epoch=0))
    await store.move_group("run", "g", Move([], "move"))
    with pytest.raises(GroupMoved):
        await repeats.lend(request("one", epoch=0))


async def test_so_many_requests_are_remembered_and_no_more(store: SlowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    repeats = Repeats(store)
    first, second = [await repeats.lend(request(name)) for name in ("one", "two")]
    assert await repeats.lend(request("one")) == first
    await repeats.lend(request("three"))
    assert await repeats.lend(request("one")) == first
    assert await repeats.lend(request("two")) != second
