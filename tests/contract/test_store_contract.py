"""What every store promises: the same tests for the memory store and for a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import pytest
from redis import Redis
from tests.support.eventually import eventually

from treeroll.errors import BrokenInvariant, GroupMoved, InvalidInput, ShareConflict, StaleEpoch, StoreError
from treeroll.ranges import Range
from treeroll.store.base import (
    MAX_GROUPS,
    NOBODY,
    PAGE_NODES,
    Available,
    Commit,
    FeedMark,
    GroupPosition,
    GroupState,
    Lease,
    Move,
    Step,
    Store,
    StoredTree,
    Unacknowledged,
)
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.keys import KEPT_POINTS
from treeroll.store.memory import MemoryStore
from treeroll.store.redis import RedisStore

LONG_S = 3600.0
SHORT_S = 0.05

MakeStore = Callable[[], Store]


@contextmanager
def memory_backend(_: EmbeddedRedis) -> Iterator[MakeStore]:
    shared = MemoryStore()
    yield lambda: shared


@contextmanager
def redis_backend(server: EmbeddedRedis) -> Iterator[MakeStore]:
    with Redis.from_url(server.url) as redis:
        redis.flushall()
    yield lambda: RedisStore(server.url)


@pytest.fixture(params=[memory_backend, redis_backend], ids=["memory", "redis"])
def make_store(request: pytest.FixtureRequest, redis_server: EmbeddedRedis) -> Iterator[MakeStore]:
    """Makes handles on one empty store."""
    with request.param(redis_server) as make:
        yield make


class Owner:
    """An opened store and its epoch."""

    def __init__(self, store: Store, epoch: int) -> None:
        self.store = store
        self.epoch = epoch

    async def commit(self, **parts: object) -> None:
        await self.store.commit(Commit(**parts), self.epoch)  # type: ignore[arg-type]

    async def feed(self, *tree_ids: str, run_id: str = "run") -> None:
        await self.commit(feed=[(run_id, tree_id) for tree_id in tree_ids])


@pytest.fixture
async def owner(make_store: MakeStore) -> AsyncIterator[Owner]:
    store = make_store()
    yield Owner(store, await store.open())
    await store.close()


NextOwner = Callable[[], Awaitable[Owner]]


@pytest.fixture
async def next_owner(make_store: MakeStore, owner: Owner) -> AsyncIterator[NextOwner]:
    """Others that take it over, one after the other."""
    stores = []

    async def take_over(after: int = 0) -> Owner:
        stores.append(make_store())
        return Owner(stores[-1], await stores[-1].open(after))

    yield take_over
    for store in stores:
        await store.close()


@pytest.fixture
async def store(owner: Owner) -> Store:
    return owner.store


def ids(leases: list[Lease]) -> list[str]:
    return [lease.lease_id for lease in leases]


def trees(leases: list[Lease]) -> list[str]:
    return [lease.tree_id for lease in leases]


def state_is(store: Store, expected: GroupState, group: str = "g") -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await store.group_state("run", group) == expected

    return check


async def test_who_goes_on_from_a_store_that_went_back_begins_a_new_line(make_store: MakeStore, owner: Owner) -> None:
    store = make_store()
    assert (await store.line(), await store.open(), await store.line()) == (0, 2, 0)
    assert (await store.open(after=7), await store.line()) == (8, 8)
    assert (await store.open(), await store.line()) == (9, 8)
    with pytest.raises(StaleEpoch):
        await store.commit(Commit(), 8)
    await store.commit(Commit(), 9)
    assert (await store.open(after=3), await store.line()) == (10, 10)
    await store.close()


async def test_how_long_ago_a_run_ended_is_told_until_it_is_deleted_and_by_the_owner_alone(
    make_store: MakeStore, owner: Owner
) -> None:
    assert await owner.store.ended_s("run", owner.epoch) == 0.0

    async def is_past() -> bool:
        await owner.commit()  # the owner's time stands still without
        return await owner.store.ended_s("run", owner.epoch) > 0.0

    await eventually(is_past)
    assert await owner.store.ended_s("run", owner.epoch, anew=True) == 0.0
    await eventually(is_past)
    assert await owner.store.ended_s("other", owner.epoch) == 0.0
    await owner.store.delete_run("run", owner.epoch)
    assert await owner.store.ended_s("run", owner.epoch) == 0.0
    newer = make_store()
    await newer.open()
    with pytest.raises(StaleEpoch):
        await owner.store.ended_s("run", owner.epoch)
    await newer.close()


async def test_an_owner_is_heard_with_every_commit_by_whoever_listens(make_store: MakeStore) -> None:
    owner, listener = make_store(), make_store()
    assert await listener.heartbeat() is None
    heard = []
    for _ in range(2):
        epoch = await owner.open()
        heard.append(await listener.heartbeat())
        for _ in range(2):
            await owner.commit(Commit(), epoch)
            heard.append(await listener.heartbeat())
    assert [(beat.epoch, beat.commit) for beat in heard if beat] == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert all(beat and "process" in beat.name for beat in heard)
    assert await listener.heartbeat() == heard[-1]
    await asyncio.gather(owner.close(), listener.close())


async def test_of_those_that_heard_the_same_of_an_owner_one_opens_the_store(make_store: MakeStore) -> None:
    """In whatever order they come: the others are told who it is, and leave nothing behind."""
    stores = [make_store() for _ in range(4)]
    for turn in range(20):
        heard = await stores[0].heartbeat() or NOBODY
        opening = [store.open(heard=heard) for store in (stores if turn % 2 else reversed(stores))]
        opened = await asyncio.gather(*opening, return_exceptions=True)
        epochs = [epoch for epoch in opened if isinstance(epoch, int)]
        refused = [error for error in opened if isinstance(error, StaleEpoch)]
        assert (epochs, len(refused)) == ([turn + 1], 3), opened
        assert all(f"as epoch {turn + 1} meanwhile" in str(error) for error in refused)
        now = await stores[0].heartbeat() or NOBODY
        assert (now.epoch, now.commit) == (turn + 1, 0)
    await asyncio.gather(*(store.close() for store in stores))


async def test_an_owner_that_said_anything_since_it_was_heard_is_not_taken_over_from(make_store: MakeStore) -> None:
    owner, other = make_store(), make_store()
    epoch = await owner.open()
    for say in (lambda: owner.commit(Commit(), epoch), lambda: owner.beat(epoch)):
        heard = await other.heartbeat()
        await say()
        assert heard != await other.heartbeat()
        with pytest.raises(StaleEpoch, match=r"was opened by .*process.* as epoch 1 meanwhile"):
            await other.open(heard=heard)
    await owner.commit(Commit(runs={"run": b"1"}), epoch)  # nobody took anything over
    assert await other.open(heard=await other.heartbeat()) == 2
    with pytest.raises(StaleEpoch):
        await owner.beat(epoch)
    with pytest.raises(StoreError):
        await other.beat(3)
    await asyncio.gather(owner.close(), other.close())


# Commits


async def test_a_commit_is_read_back_whole(owner: Owner) -> None:
    await owner.commit(
        runs={"run": b"\x00record\xff"},
        trees={"tree": b"header"},
        nodes={"tree": [(0, b"root\x00"), (1, b""), (2, b"\xff" * 10)]},
        rewards={"tree": {"2:math:1": b"reward"}},
        tasks={"run": {"0:task": ("tree", "digest")}},
        history={"run": {"task": "1.0 2.0 0"}},
        memory={"run": {"allocate": "true", "allocate/price": "[1.5]"}},
        feed=[("run", "tree")],
    )
    store = owner.store
    assert await store.load_run("run") == b"\x00record\xff"
    assert await store.run_ids() == ["run"]
    assert await store.load_tasks("run") == {"0:task": ("tree", "digest")}
    assert await store.load_history("run") == {"task": "1.0 2.0 0"}
    assert await store.load_memory("run") == {"allocate": "true", "allocate/price": "[1.5]"}
    assert await store.load_tree("tree") == StoredTree(
        b"header", [b"root\x00", b"", b"\xff" * 10], {"2:math:1": b"reward"}
    )
    assert await store.feed_entries("run") == ["tree"]
    assert await store.feed_length("run") == 1


async def test_weights_are_kept_by_pool_and_the_last_record_counts(owner: Owner) -> None:
    assert await owner.store.load_weights() == {}
    await owner.commit(weights={"": b"one\xff", "large": b"two"})
    await owner.commit(weights={"large": b"three"})
    await owner.commit(runs={"run": b"run"})
    await owner.store.delete_run("run", owner.epoch)
    assert await owner.store.load_weights() == {"": b"one\xff", "large": b"three"}


async def test_sessions_of_replicas_are_kept_and_replaced(owner: Owner) -> None:
    assert await owner.store.load_sessions() == {}
    await owner.commit(sessions={"r0": b"one", "r1": b"two\xff"})
    await owner.commit(sessions={"r0": b"three"})
    assert await owner.store.load_sessions() == {"r0": b"three", "r1": b"two\xff"}


async def test_what_an_owner_says_of_itself_is_read_by_all_and_replaced(make_store: MakeStore, owner: Owner) -> None:
    reader = make_store()
    assert await reader.load_snapshot() is None
    for said in (b"\x00first", b"second"):
        await owner.store.save_snapshot(said, b"of " + said, owner.epoch)
    assert await reader.load_snapshot() == b"second"
    assert [point for _, point in await reader.load_points()] == [b"of \x00first", b"of second"]
    await reader.close()


async def test_points_are_read_on_from_the_last_one_that_is_known(owner: Owner) -> None:
    assert await owner.store.load_points() == []
    for number in range(5):
        await owner.store.save_snapshot(b"", str(number).encode(), owner.epoch)
    first = await owner.store.load_points(most=2)
    assert [point for _, point in first] == [b"0", b"1"]
    rest = await owner.store.load_points(after=first[-1][0])
    assert [point for _, point in rest] == [b"2", b"3", b"4"]
    assert await owner.store.load_points(after=rest[-1][0]) == []


async def test_points_of_about_the_last_hour_are_kept(owner: Owner) -> None:
    for number in range(KEPT_POINTS + 300):
        await owner.store.save_snapshot(b"", str(number).encode(), owner.epoch)
    points = [int(point) for _, point in await owner.store.load_points(most=2 * KEPT_POINTS)]
    assert KEPT_POINTS <= len(points) < KEPT_POINTS + 200
    assert points[-1] == KEPT_POINTS + 299


async def test_logs_are_read_on_by_place(owner: Owner) -> None:
    store = owner.store
    await owner.commit(ticks={"run": b"abc"}, ticks_kept=1 << 20, happenings=b"x")
    await owner.commit(ticks={"run": b"de"}, ticks_kept=1 << 20)
    assert await store.load_log("ticks", 0, 10) == [(3, b"abc"), (5, b"de")]
    assert await store.load_log("ticks", 3, 10) == [(5, b"de")]
    assert await store.load_log("ticks", 0, 1) == [(3, b"abc")]
    assert await store.load_log("ticks", 5, 10) == []
    assert await store.load_log("happenings", 0, 10) == [(1, b"x")]
    assert (await store.log_end("ticks"), await store.log_end("happenings")) == (5, 1)


async def test_of_a_log_about_so_many_bytes_are_kept(owner: Owner) -> None:
    entry, kept = bytes(5000), 100_000
    for _ in range(200):
        await owner.commit(ticks={"run": entry}, ticks_kept=kept)
    entries = await owner.store.load_log("ticks", 0, 1000)
    assert entries[-1][0] == 200 * len(entry)
    assert kept <= sum(len(blob) for _, blob in entries) <= 3 * kept


async def test_who_is_not_the_owner_says_nothing_of_the_service(make_store: MakeStore, owner: Owner) -> None:
    await owner.store.save_snapshot(b"mine", b"", owner.epoch)
    other = make_store()
    epoch = await other.open()
    with pytest.raises(StaleEpoch):
        await owner.store.save_snapshot(b"late", b"", owner.epoch)
    with pytest.raises(StoreError):
        await other.save_snapshot(b"of an epoch that is not", b"", epoch + 1)
    assert await owner.store.load_snapshot() == b"mine"
    assert len(await owner.store.load_points()) == 1
    await other.close()


async def test_single_nodes_are_read_in_the_order_asked_and_none_may_be_missing(owner: Owner) -> None:
    await owner.commit(nodes={"tree": [(0, b"root"), (1, b"one"), (2, b"two")], "other": [(0, b"o")]})
    load = owner.store.load_nodes
    assert await load([("tree", [2, 0]), ("other", [0]), ("tree", [])]) == [[b"two", b"root"], [b"o"], []]
    assert await load([]) == []
    with pytest.raises(StoreError, match="node 7 of tree tree is not in the store"):
        await load([("tree", [0, 7])])
    with pytest.raises(StoreError, match="node 0 of tree none is not in the store"):
        await load([("none", [0])])


async def test_unknown_ids_read_as_nothing(store: Store) -> None:
    assert await store.run_ids() == []
    assert await store.load_run("none") is None
    assert await store.load_tasks("none") == {}
    assert await store.load_history("none") == {}
    assert await store.load_tree("none") is None
    assert await store.load_trees([]) == []
    assert await store.load_trees(["none"]) == [None]
    assert await store.feed_length("none") == 0
    assert await store.feed_entries("none") == []
    assert await store.group_names("none") == []
    assert await store.group_state("none", "g") == GroupState(0, 0, 0)


async def test_later_commits_replace_records_and_append_nodes(owner: Owner) -> None:
    await owner.commit(
        runs={"run": b"1"}, trees={"tree": b"1"}, nodes={"tree": [(0, b"0")]}, rewards={"tree": {"0:s:1": b"1"}}
    )
    await owner.commit(
        runs={"run": b"2"}, trees={"tree": b"2"}, nodes={"tree": [(1, b"1")]}, rewards={"tree": {"0:s:1": b"2"}}
    )
    assert await owner.store.load_run("run") == b"2"
    assert await owner.store.load_tree("tree") == StoredTree(b"2", [b"0", b"1"], {"0:s:1": b"2"})


async def test_nodes_are_sorted_by_number_whatever_order_they_came_in(owner: Owner) -> None:
    await owner.commit(trees={"tree": b""}, nodes={"tree": [(2, b"2"), (0, b"0"), (1, b"1")]})
    stored = await owner.store.load_tree("tree")
    assert stored
    assert stored.nodes == [b"0", b"1", b"2"]


@pytest.mark.parametrize("first", [0, 1, 2])
async def test_nodes_that_are_stored_already_may_come_again_with_those_after_them(owner: Owner, first: int) -> None:
    rows = [(0, b"0"), (1, b"1"), (2, b"2")]
    await owner.commit(trees={"tree": b""}, nodes={"tree": rows[:2]})
    await owner.commit(nodes={"tree": rows[first:]})
    await owner.commit(nodes={"tree": rows[:1]})
    stored = await owner.store.load_tree("tree")
    assert stored
    assert stored.nodes == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("number", "rows"),
    [
        (1, [(1, b"other"), (2, b"2")]),
        (1, [(0, b"0"), (1, b"other")]),
        (0, [(0, b"")]),
        (1, [(1, b"1 and more"), (2, b"2"), (3, b"3")]),
    ],
)
async def test_a_node_that_is_stored_with_other_content_refuses_the_whole_commit(
    owner: Owner, number: int, rows: list[tuple[int, bytes]]
) -> None:
    await owner.commit(trees={"tree": b""}, nodes={"tree": [(0, b"0"), (1, b"1")]})
    with pytest.raises(BrokenInvariant, match=f"TreeWellFormed: node {number} of tree tree is in the store with other"):
        await owner.commit(
            runs={"run": b"record"},
            trees={"good": b""},
            nodes={"good": [(0, b"0")], "tree": rows},
            rewards={"tree": {"0:math:1": b"reward"}},
            feed=[("run", "tree")],
        )
    assert await owner.store.load_tree("tree") == StoredTree(b"", [b"0", b"1"], {})
    assert await owner.store.load_tree("good") is None
    assert await owner.store.run_ids() == []
    assert await owner.store.feed_length("run") == 0
    await owner.commit(nodes={"tree": [(2, b"2")]})


@pytest.mark.parametrize("rows", [[(1, b"late")], [(0, b"0"), (2, b"2")], [(0, b"0"), (0, b"0")]])
async def test_nodes_that_leave_a_hole_refuse_the_whole_commit(owner: Owner, rows: list[tuple[int, bytes]]) -> None:
    with pytest.raises(BrokenInvariant, match=r"TreeWellFormed: node \d of tree bad would follow node"):
        await owner.commit(
            runs={"run": b"record"},
            trees={"good": b"", "bad": b""},
            nodes={"good": [(0, b"0")], "bad": rows},
            feed=[("run", "good")],
        )
    assert await owner.store.run_ids() == []
    assert await owner.store.load_trees(["good", "bad"]) == [None, None]
    assert await owner.store.feed_length("run") == 0
    await owner.commit(runs={"run": b"record"})
    assert await owner.store.run_ids() == ["run"]


async def test_a_tree_enters_its_feed_once_so_that_a_commit_may_be_repeated(owner: Owner) -> None:
    again = {"trees": {"tree": b"h"}, "nodes": {"tree": [(0, b"0")]}, "feed": [("run", "tree")]}
    await owner.commit(**again)
    await owner.commit(**again)
    assert await owner.store.feed_entries("run") == ["tree"]
    assert await owner.store.load_tree("tree") == StoredTree(b"h", [b"0"], {})


async def test_a_commit_that_is_sent_again_is_the_same_commit(owner: Owner) -> None:
    commit = Commit(runs={"run": b"1"}, trees={"tree": b"h"}, nodes={"tree": [(0, b"0")]}, feed=[("run", "tree")])
    for _ in range(3):
        await owner.store.commit(commit, owner.epoch)
    await owner.commit(runs={"run": b"2"})
    assert await owner.store.feed_entries("run") == ["tree"]
    assert await owner.store.load_tree("tree") == StoredTree(b"h", [b"0"], {})
    assert await owner.store.load_run("run") == b"2"


async def test_a_commit_of_thousands_of_nodes_is_one_commit(owner: Owner) -> None:
    records = [number.to_bytes(4, "little") * 256 for number in range(5_000)]
    await owner.commit(
        trees={"big": b"h"},
        nodes={"big": list(enumerate(records))},
        rewards={"big": {f"{number}:math:1": b"r" for number in range(5_000)}},
    )
    stored = await owner.store.load_tree("big")
    assert stored
    assert stored.nodes == records
    assert len(stored.rewards) == 5_000
    pages = [page async for page in owner.store.tree_pages("big")]
    assert [page.header for page in pages] == [b"h", *[b""] * (len(pages) - 1)]
    assert [node for page in pages for node in page.nodes] == records
    for page in pages:
        numbers = range(page.first, page.first + len(page.nodes))
        assert len(numbers) <= PAGE_NODES
        assert page.rewards == {f"{number}:math:1": b"r" for number in numbers}


async def test_a_commit_of_a_thousand_trees_keeps_the_order_of_the_feed(owner: Owner) -> None:
    names = [f"tree-{number}" for number in range(1_000)]
    await owner.commit(
        trees={name: name.encode() for name in names},
        nodes={name: [(0, b"root"), (1, name.encode())] for name in names},
        feed=[("run", name) for name in reversed(names)],
    )
    assert await owner.store.feed_entries("run") == names[::-1]
    loaded = await owner.store.load_trees(names[:50])
    assert [tree and tree.nodes[1].decode() for tree in loaded] == names[:50]


async def test_commits_made_at_once_apply_in_the_order_they_were_made(owner: Owner) -> None:
    commits = [
        owner.commit(runs={"run": b"%d" % number}, nodes={"tree": [(number, b"%d" % number)]}, trees={"tree": b""})
        for number in range(50)
    ]
    await asyncio.gather(*commits)
    stored = await owner.store.load_tree("tree")
    assert stored
    assert stored.nodes == [b"%d" % number for number in range(50)]
    assert await owner.store.load_run("run") == b"49"


async def test_a_journal_grows_at_its_end_until_its_tree_enters_the_feed(owner: Owner) -> None:
    await owner.commit(trees={"t": b"header"}, journal={"t": [b"1\x00", b"2"], "other": [b"x"]})
    await owner.commit(journal={"t": [b"3", b""]})
    assert await owner.store.load_journals(["none", "t", "other"]) == [[], [b"1\x00", b"2", b"3", b""], [b"x"]]
    await owner.commit(journal={"t": [b"4"]}, feed=[("run", "t")])
    assert await owner.store.load_journals(["t", "other"]) == [[], [b"x"]]
    assert await owner.store.load_journals([]) == []


async def test_a_journal_goes_with_its_run(owner: Owner) -> None:
    await owner.commit(runs={"run": b"run"}, tasks={"run": {"0:a": ("t", "d")}}, journal={"t": [b"1"]})
    await owner.store.delete_run("run", owner.epoch)
    assert await owner.store.load_journals(["t"]) == [[]]


async def test_a_tree_that_grows_anew_keeps_its_header_and_nothing_else(owner: Owner) -> None:
    rewards = {"1:math:1": b"reward"}
    await owner.commit(
        trees={"t": b"header", "u": b"header"},
        nodes={"t": [(0, b"root"), (1, b"one"), (2, b"two")], "u": [(0, b"root"), (1, b"one")]},
        rewards={"t": rewards, "u": rewards},
        journal={"t": [b"1"], "u": [b"1"]},
    )
    await owner.commit(anew=["t"], nodes={"t": [(0, b"root"), (1, b"another")]}, journal={"t": [b"2"]})
    assert await owner.store.load_tree("t") == StoredTree(b"header", [b"root", b"another"], {})
    assert await owner.store.load_tree("u") == StoredTree(b"header", [b"root", b"one"], rewards)
    assert await owner.store.load_journals(["t", "u"]) == [[b"2"], [b"1"]]


async def test_a_tree_that_grows_anew_begins_with_its_root(owner: Owner) -> None:
    await owner.commit(nodes={"t": [(0, b"root"), (1, b"one")]}, trees={"t": b"header"}, journal={"t": [b"1"]})
    with pytest.raises(BrokenInvariant):
        await owner.commit(anew=["t"], nodes={"t": [(2, b"two")]})
    assert await owner.store.load_tree("t") == StoredTree(b"header", [b"root", b"one"], {})
    assert await owner.store.load_journals(["t"]) == [[b"1"]]


@pytest.mark.parametrize("nodes", [1, 255, 256, 257, 700])
async def test_a_tree_of_any_size_is_loaded_whole_by_itself_and_with_others(owner: Owner, nodes: int) -> None:
    records = [str(number).encode() for number in range(nodes)]
    await owner.commit(
        trees={"t": b"header"}, nodes={"t": list(enumerate(records))}, rewards={"t": {"0:s:1": b"reward"}}
    )
    tree = StoredTree(b"header", records, {"0:s:1": b"reward"})
    assert await owner.store.load_tree("t") == tree
    assert await owner.store.load_trees(["t"]) == [tree]


async def test_trees_load_in_the_order_asked(owner: Owner) -> None:
    await owner.commit(trees={"a": b"A", "b": b"B"})
    loaded = await owner.store.load_trees(["b", "none", "a", "b"])
    assert [tree and tree.header for tree in loaded] == [b"B", None, b"A", b"B"]


async def test_ids_with_separators_do_not_meet(owner: Owner) -> None:
    await owner.commit(trees={"a:b": b"1", "a%3ab": b"2", "a": b"3"}, feed=[("r:x", "a:b"), ("r", "a")])
    loaded = await owner.store.load_trees(["a:b", "a%3ab", "a"])
    assert [tree and tree.header for tree in loaded] == [b"1", b"2", b"3"]
    await owner.store.lease("r:x", "g", "c", 1, LONG_S)
    assert await owner.store.group_state("r", "x:g") == GroupState(0, 0, 1)
    assert trees(await owner.store.lease("r", "x:g", "c", 9, LONG_S)) == ["a"]


# Owners


async def test_every_open_gives_a_larger_epoch(make_store: MakeStore) -> None:
    stores = [make_store() for _ in range(3)]
    epochs = [await store.open() for store in stores]
    assert epochs == sorted(set(epochs))
    assert epochs[0] > 0
    for store in stores:
        await store.close()


async def test_an_old_owner_writes_nothing(owner: Owner, make_store: MakeStore) -> None:
    newer = make_store()
    epoch = await newer.open()
    with pytest.raises(StaleEpoch, match="may write no more"):
        await owner.commit(
            runs={"run": b"old"}, trees={"tree": b"old"}, nodes={"tree": [(0, b"old")]}, feed=[("run", "tree")]
        )
    assert await newer.run_ids() == []
    assert await newer.load_tree("tree") is None
    assert await newer.feed_length("run") == 0
    await newer.commit(Commit(runs={"run": b"new"}), epoch)
    assert await newer.load_run("run") == b"new"
    await newer.close()


async def test_the_secret_stays_as_long_as_the_store(make_store: MakeStore) -> None:
    first, second = make_store(), make_store()
    await first.open()
    secret = await first.secret()
    assert len(secret) == 32
    await second.open()
    assert await second.secret() == await first.secret() == secret
    assert await MemoryStore().secret() != secret
    await first.close()
    await second.close()


async def test_a_store_opened_again_fences_its_own_past(owner: Owner) -> None:
    newer = await owner.store.open()
    with pytest.raises(StaleEpoch):
        await owner.commit(runs={"run": b"old"})
    await owner.store.commit(Commit(runs={"run": b"new"}), newer)
    assert await owner.store.load_run("run") == b"new"


async def test_leases_that_are_over_are_over_for_the_next_owner_too(owner: Owner, make_store: MakeStore) -> None:
    await owner.feed("a", "b")
    await owner.store.renew("run", "g", ids(await owner.store.lease("run", "g", "c", 1, LONG_S)), 0.0)
    await owner.store.lease("run", "g", "c", 1, 0.0)
    newer = make_store()
    await newer.open()
    assert trees(await newer.lease("run", "g", "d", 2, LONG_S)) == ["a", "b"]
    await newer.close()


async def test_an_epoch_nobody_was_given_is_refused(owner: Owner) -> None:
    with pytest.raises(StoreError):
        await owner.store.commit(Commit(runs={"run": b""}), owner.epoch + 1)
    assert await owner.store.run_ids() == []


async def test_an_empty_commit_is_fenced_too(owner: Owner, make_store: MakeStore) -> None:
    await owner.commit()
    newer = make_store()
    await newer.open()
    with pytest.raises(StaleEpoch):
        await owner.commit()
    await newer.close()


# Leases


async def test_entries_are_lent_in_order_and_once(owner: Owner) -> None:
    await owner.feed("a", "b", "c")
    first = await owner.store.lease("run", "g", "one", 2, LONG_S)
    second = await owner.store.lease("run", "g", "two", 5, LONG_S)
    assert [(lease.tree_id, lease.seq, lease.times_delivered) for lease in first + second] == [
        ("a", 1, 1),
        ("b", 2, 1),
        ("c", 3, 1),
    ]
    assert len({*ids(first), *ids(second)}) == 3
    assert await owner.store.lease("run", "g", "one", 5, LONG_S) == []


async def test_a_group_made_before_the_first_entry_gets_it(owner: Owner) -> None:
    assert await owner.store.lease("run", "g", "c", 1, LONG_S) == []
    assert await owner.store.group_names("run") == ["g"]
    await owner.feed("a")
    assert trees(await owner.store.lease("run", "g", "c", 1, LONG_S)) == ["a"]


async def test_asking_for_no_leases_gives_none(owner: Owner) -> None:
    await owner.feed("a")
    assert await owner.store.lease("run", "g", "c", 0, LONG_S) == []
    assert await owner.store.group_state("run", "g") == GroupState(0, 0, 1)


async def test_groups_do_not_see_each_other(owner: Owner) -> None:
    await owner.feed("a", "b")
    one = await owner.store.lease("run", "one", "c", 2, LONG_S)
    await owner.store.ack("run", "one", ids(one))
    two = await owner.store.lease("run", "two", "c", 1, LONG_S)
    assert trees(two) == ["a"]
    assert await owner.store.group_state("run", "one") == GroupState(2, 0, 0)
    assert await owner.store.group_state("run", "two") == GroupState(0, 1, 1)
    assert await owner.store.group_state("run", "none") == GroupState(0, 0, 2)
    assert sorted(await owner.store.group_names("run")) == ["one", "two"]


async def test_what_a_group_owes_an_acknowledgement_for_is_told_entry_by_entry(owner: Owner) -> None:
    await owner.feed("a", "b", "c", "d")
    assert await owner.store.unacknowledged("run", "g") == Unacknowledged(0, [])
    first = await owner.store.lease("run", "g", "c", 3, LONG_S)
    assert await owner.store.unacknowledged("run", "g") == Unacknowledged(3, [1, 2, 3])
    await owner.store.ack("run", "g", ids(first)[1:2])
    await owner.store.release("run", "g", ids(first)[2:])
    assert await owner.store.unacknowledged("run", "g") == Unacknowledged(3, [1, 3])
    assert await owner.store.unacknowledged("run", "other") == Unacknowledged(0, [])


async def test_runs_have_feeds_of_their_own(owner: Owner) -> None:
    await owner.commit(feed=[("run", "a"), ("other", "x"), ("run", "b")])
    assert [lease.seq for lease in await owner.store.lease("run", "g", "c", 9, LONG_S)] == [1, 2]
    assert [lease.seq for lease in await owner.store.lease("other", "g", "c", 9, LONG_S)] == [1]


async def test_an_expired_lease_goes_to_the_next_who_asks_before_new_entries(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a", "b", "c")
    old = await store.lease("run", "g", "one", 2, SHORT_S)
    await eventually(state_is(store, GroupState(0, 0, 3)))
    taken = await store.lease("run", "g", "two", 3, LONG_S)
    assert [(lease.tree_id, lease.times_delivered) for lease in taken] == [("a", 2), ("b", 2), ("c", 1)]
    assert not {*ids(taken)} & {*ids(old)}


async def test_a_lease_lasts_for_its_own_time_not_for_that_of_others(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a", "b")
    await store.lease("run", "g", "c", 1, LONG_S)
    await store.lease("run", "g", "c", 1, SHORT_S)
    await eventually(state_is(store, GroupState(0, 1, 1)))
    assert trees(await store.lease("run", "g", "c", 2, SHORT_S)) == ["b"]


async def test_a_renewed_lease_is_not_lent_again(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a", "b")
    a, _ = ids(await store.lease("run", "g", "c", 2, SHORT_S))
    assert await store.renew("run", "g", [a], LONG_S) == []
    await eventually(state_is(store, GroupState(0, 1, 1)))
    assert trees(await store.lease("run", "g", "d", 2, LONG_S)) == ["b"]
    assert await store.ack("run", "g", [a]) == []


async def test_a_renewal_may_shorten_a_lease(owner: Owner) -> None:
    await owner.feed("a")
    leases = await owner.store.lease("run", "g", "c", 1, LONG_S)
    assert await owner.store.renew("run", "g", ids(leases), 0.0) == []
    assert trees(await owner.store.lease("run", "g", "d", 1, LONG_S)) == ["a"]


async def test_an_expired_lease_nobody_took_is_still_good(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a", "b")
    a, b = ids(await store.lease("run", "g", "c", 2, SHORT_S))
    await eventually(state_is(store, GroupState(0, 0, 2)))
    assert await store.ack("run", "g", [a]) == []
    assert await store.renew("run", "g", [b], LONG_S) == []
    assert await store.lease("run", "g", "d", 2, LONG_S) == []
    assert await store.group_state("run", "g") == GroupState(1, 1, 0)


async def test_a_lease_that_moved_on_is_lost_to_its_old_holder_only(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a")
    old = ids(await store.lease("run", "g", "one", 1, 0.0))
    new = ids(await store.lease("run", "g", "two", 1, LONG_S))
    assert await store.renew("run", "g", old, LONG_S) == old
    assert await store.release("run", "g", old) == old
    assert await store.ack("run", "g", old) == old
    assert await store.group_state("run", "g") == GroupState(0, 1, 0)
    assert await store.ack("run", "g", new) == []
    assert await store.ack("run", "g", old) == old


async def test_a_lease_that_came_back_to_the_same_consumer_is_another_lease(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a")
    old = ids(await store.lease("run", "g", "c", 1, 0.0))
    new = ids(await store.lease("run", "g", "c", 1, LONG_S))
    assert await store.ack("run", "g", old) == old
    assert await store.ack("run", "g", new) == []


@pytest.mark.parametrize("deliveries", [1, 2, 3])
async def test_acknowledging_twice_is_acknowledging_once(owner: Owner, deliveries: int) -> None:
    store = owner.store
    await owner.feed("a", "b")
    for _ in range(deliveries - 1):
        await store.lease("run", "g", "c", 2, 0.0)
    leases = await store.lease("run", "g", "c", 2, LONG_S)
    assert [lease.times_delivered for lease in leases] == [deliveries] * 2
    assert await store.ack("run", "g", ids(leases)) == []
    assert await store.ack("run", "g", ids(leases) * 2) == []
    assert await store.group_state("run", "g") == GroupState(2, 0, 0)
    assert await store.lease("run", "g", "c", 2, LONG_S) == []


async def test_an_acknowledged_lease_cannot_be_renewed_or_released(owner: Owner) -> None:
    await owner.feed("a")
    leases = ids(await owner.store.lease("run", "g", "c", 1, LONG_S))
    await owner.store.ack("run", "g", leases)
    assert await owner.store.renew("run", "g", leases, LONG_S) == leases
    assert await owner.store.release("run", "g", leases) == leases


async def test_a_released_lease_is_lent_at_once_and_first(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a", "b", "c")
    leases = ids(await store.lease("run", "g", "one", 2, LONG_S))
    assert await store.release("run", "g", leases) == []
    assert await store.group_state("run", "g") == GroupState(0, 0, 3)
    again = await store.lease("run", "g", "two", 3, LONG_S)
    assert [(lease.tree_id, lease.times_delivered) for lease in again] == [("a", 2), ("b", 2), ("c", 1)]


async def test_a_released_lease_is_over_for_its_holder(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a")
    leases = ids(await store.lease("run", "g", "c", 1, LONG_S))
    assert await store.release("run", "g", leases) == []
    assert await store.release("run", "g", leases) == []
    assert await store.renew("run", "g", leases, LONG_S) == leases
    assert await store.ack("run", "g", leases) == leases


async def test_a_consumer_gives_back_all_it_holds_and_nothing_of_others(owner: Owner) -> None:
    store = owner.store
    await owner.feed(*"abcdef")
    done = ids(await store.lease("run", "g", "one", 1, LONG_S))
    mine = ids(await store.lease("run", "g", "one", 2, LONG_S))
    theirs = ids(await store.lease("run", "g", "two", 1, LONG_S))
    elsewhere = ids(await store.lease("run", "other", "one", 1, LONG_S))
    assert await store.ack("run", "g", done) == []
    for _ in range(2):
        await store.release_all("run", "g", "one")
        assert await store.group_state("run", "g") == GroupState(1, 1, 4)
    assert await store.ack("run", "g", mine) == mine
    assert await store.renew("run", "g", theirs, LONG_S) == []
    assert await store.renew("run", "other", elsewhere, LONG_S) == []
    again = await store.lease("run", "g", "one", 2, LONG_S)
    assert [(lease.tree_id, lease.times_delivered) for lease in again] == [("b", 2), ("c", 2)]


async def test_a_consumer_that_holds_many_gives_all_back(owner: Owner) -> None:
    await owner.feed(*map(str, range(2100)))
    assert len(await owner.store.lease("run", "g", "c", 2100, LONG_S)) == 2100
    await owner.store.release_all("run", "g", "c")
    assert await owner.store.group_state("run", "g") == GroupState(0, 0, 2100)


async def test_nobody_has_nothing_to_give_back(owner: Owner) -> None:
    await owner.store.release_all("none", "g", "c")
    await owner.feed("a")
    await owner.store.release_all("run", "g", "c")
    assert await owner.store.group_names("run") == []


@pytest.mark.parametrize(
    "unknown",
    ["", "nonsense", "1", "1.1", "1.1.c", "0.0.1.c", "0.2.1.c", "0.1.2.c", "0.1.1.x", "1.1.1.c", f"0.{'9' * 30}.1.c"],
)
async def test_an_unknown_lease_is_reported_and_the_others_are_done(owner: Owner, unknown: str) -> None:
    store = owner.store
    await owner.feed("a", "b", "c")
    leases = await store.lease("run", "g", "c", 1, LONG_S)
    known = ids(leases)[0]
    assert await store.renew("run", "g", [unknown, known, unknown], LONG_S) == [unknown, unknown]
    assert await store.release("run", "g", [unknown]) == [unknown]
    assert await store.ack("run", "g", [unknown, known]) == [unknown]
    assert await store.group_state("run", "g") == GroupState(1, 0, 2)


async def test_leases_of_an_unknown_group_are_unknown(owner: Owner) -> None:
    await owner.feed("a")
    leases = ids(await owner.store.lease("run", "g", "c", 1, LONG_S))
    assert await owner.store.ack("run", "other", leases) == leases
    assert await owner.store.renew("none", "g", leases, LONG_S) == leases
    assert await owner.store.release("none", "g", leases) == leases
    assert await owner.store.group_names("run") == ["g"]


async def test_consumer_names_may_hold_anything(owner: Owner) -> None:
    await owner.feed("a")
    leases = ids(await owner.store.lease("run", "g", "rank 0.1:\n日本", 1, LONG_S))
    assert await owner.store.ack("run", "g", leases) == []


async def test_concurrent_consumers_share_a_feed_without_overlap(owner: Owner) -> None:
    names = [f"tree-{number}" for number in range(200)]
    await owner.feed(*names)

    async def consume(consumer: str) -> list[str]:
        taken: list[str] = []
        while leases := await owner.store.lease("run", "g", consumer, 7, LONG_S):
            taken += trees(leases)
            await owner.store.ack("run", "g", ids(leases))
        return taken

    shares = await asyncio.gather(*(consume(f"c{number}") for number in range(8)))
    assert sorted(chain.from_iterable(shares)) == sorted(names)
    assert await owner.store.group_state("run", "g") == GroupState(200, 0, 0)


# Groups that go back


async def move(store: Store, *acknowledged: Range, move_id: str = "m", group: str = "g") -> GroupPosition:
    return await store.move_group("run", group, Move(acknowledged, move_id))


async def test_a_group_stands_where_its_acknowledgements_are(owner: Owner) -> None:
    store = owner.store
    assert await store.open_group("run", "g", latest=False) == GroupPosition(0, [])
    await owner.feed(*"abcdef")
    leases = ids(await store.lease("run", "g", "c", 5, LONG_S))
    await store.ack("run", "g", [leases[0], leases[1], leases[3]])
    assert await store.open_group("run", "g", latest=False) == GroupPosition(0, [(1, 2), (4, 4)])
    await store.ack("run", "g", leases)
    assert await store.open_group("run", "g", latest=True) == GroupPosition(0, [(1, 5)])
    assert await store.group_state("run", "g") == GroupState(5, 0, 1)


async def test_a_late_group_begins_with_the_latest_if_it_wants(owner: Owner) -> None:
    store = owner.store
    await ended(owner, "a", "b")
    await store.ack("run", "g", ids(await store.lease("run", "g", "c", 2, LONG_S)))
    await store.expire("run", 1, owner.epoch)
    with pytest.raises(InvalidInput, match=r"group 'late' is new .* 1 of its trees have expired"):
        await store.open_group("run", "late", latest=False)
    assert await store.open_group("run", "late", latest=True) == GroupPosition(0, [(1, 2)])
    assert await store.lease("run", "late", "c", 9, LONG_S) == []
    await owner.feed("c")
    assert trees(await store.lease("run", "late", "c", 9, LONG_S)) == ["c"]
    assert await store.open_group("none", "late", latest=True) == GroupPosition(0, [])


async def test_a_run_has_so_many_groups_and_no_more(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a")
    for number in range(MAX_GROUPS):
        await store.open_group("run", f"g{number}", latest=False)
    for begin in (
        store.open_group("run", "other", latest=False),
        store.lease("run", "other", "c", 1, LONG_S),
        store.available("run", "other", 1, 0),
        move(store, group="other"),
    ):
        with pytest.raises(InvalidInput, match="group 'other' is new to run 'run', which has 1000 groups"):
            await begin
    assert await move(store, group="g7") == GroupPosition(1, [])
    assert trees(await store.lease("run", "g7", "c", 1, LONG_S)) == ["a"]
    await store.open_group("another", "other", latest=False)


async def test_what_a_state_does_not_name_comes_again_and_nothing_else(owner: Owner) -> None:
    store = owner.store
    await owner.feed(*"abcdefgh")
    leases = ids(await store.lease("run", "g", "c", 6, LONG_S))
    await store.ack("run", "g", leases[:4])
    assert await move(store, (1, 1), (3, 3), (6, 6)) == GroupPosition(1, [(1, 1), (3, 3), (6, 6)])
    assert await store.group_state("run", "g") == GroupState(3, 0, 5)
    again = await store.lease("run", "g", "c", 9, LONG_S)
    assert [(lease.tree_id, lease.seq, lease.times_delivered) for lease in again] == [
        ("b", 2, 1), ("d", 4, 1), ("e", 5, 1), ("g", 7, 1), ("h", 8, 1),
    ]  # fmt: skip
    assert await store.ack("run", "g", ids(again)) == []
    assert await store.open_group("run", "g", latest=False) == GroupPosition(1, [(1, 8)])


async def test_a_state_may_name_what_nobody_had_acknowledged_or_taken(owner: Owner) -> None:
    store = owner.store
    await owner.feed(*"abcd")
    await store.lease("run", "g", "c", 2, LONG_S)
    assert await move(store, (1, 3)) == GroupPosition(1, [(1, 3)])
    assert trees(await store.lease("run", "g", "c", 9, LONG_S)) == ["d"]


async def test_a_state_is_refused_that_names_what_a_later_owner_did_not_find(
    owner: Owner, next_owner: NextOwner
) -> None:
    await owner.feed(*"abc")
    await (await next_owner()).feed(*"de")
    await (await next_owner()).feed("f")

    async def seen(*marks: FeedMark) -> GroupPosition:
        return await owner.store.move_group("run", "g", Move([(1, 4)], repr(marks), seen=marks))

    for marks in ([], [(1, 3)], [(1, 2), (2, 5)], [(2, 5), (3, 6)], [(3, 6)]):
        assert (await seen(*marks)).acknowledged == [(1, 4)]
    for marks, left in (([(1, 4)], 3), ([(1, 3), (2, 6)], 5), ([(1, 6)], 3), ([(3, 6), (2, 6)], 5)):
        with pytest.raises(InvalidInput, match=rf"names tree \d of .* has lost all after tree {left} since then"):
            await seen(*marks)


async def test_a_run_that_the_store_knew_nothing_of_has_no_tree_of_before(next_owner: Any) -> None:
    later = await next_owner(after=5)
    await later.feed(*"ab")
    with pytest.raises(InvalidInput, match="has lost all after tree 0"):
        await later.store.move_group("run", "g", Move([(1, 1)], "m", seen=[(1, 1)]))
    found = await later.store.move_group("run", "g", Move([(1, 1)], "m", seen=[(6, 1)]))
    assert found.acknowledged == [(1, 1)]
    await later.store.delete_run("run", later.epoch)
    assert (await later.store.open_group("run", "g", latest=False)).opened == []


async def test_an_owner_that_finds_no_more_than_the_one_before_is_the_only_one_to_remember(
    owner: Owner, next_owner: NextOwner
) -> None:
    await owner.feed(*"ab")
    for _ in range(3):
        again = await next_owner()
    await again.feed("c")
    last = await next_owner()
    assert (await last.store.open_group("run", "g", latest=False)).opened == [(1, 0), (4, 2), (5, 3)]


async def test_a_group_may_go_back_to_the_beginning_and_a_new_one_anywhere(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a", "b")
    await store.ack("run", "g", ids(await store.lease("run", "g", "c", 2, LONG_S)))
    assert await move(store) == GroupPosition(1, [])
    assert trees(await store.lease("run", "g", "c", 9, LONG_S)) == ["a", "b"]
    assert await move(store, (2, 2), group="new") == GroupPosition(1, [(2, 2)])
    assert trees(await store.lease("run", "new", "c", 9, LONG_S)) == ["a"]
    assert await store.move_group("none", "g", Move([], "m")) == GroupPosition(1, [])


async def test_leases_from_before_a_move_are_fenced(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a", "b", "c")
    old = ids(await store.lease("run", "g", "c", 2, LONG_S))
    await store.ack("run", "g", old[:1])
    await move(store)
    new = ids(await store.lease("run", "g", "c", 1, LONG_S, epoch=1))
    assert not {*old} & {*new}
    for call in (store.ack("run", "g", [*new, old[1]]), store.ack("run", "g", old), store.renew("run", "g", old, 1.0)):
        with pytest.raises(GroupMoved, match="group 'g' of run 'run' went to a saved state"):
            await call
    for epoch in (0, 2):
        with pytest.raises(GroupMoved):
            await store.lease("run", "g", "c", 1, LONG_S, epoch=epoch)
    assert await store.release("run", "g", old) == old
    assert await store.group_state("run", "g") == GroupState(0, 1, 2)
    assert await store.ack("run", "g", new) == []
    assert await store.ack("run", "g", new) == []


async def test_a_move_is_done_once(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a", "b")
    await move(store, (1, 1))
    leases = ids(await store.lease("run", "g", "c", 1, LONG_S))
    assert await move(store, (1, 1)) == GroupPosition(1, [(1, 1)])
    assert await store.ack("run", "g", leases) == []
    assert await move(store, (1, 1)) == GroupPosition(1, [(1, 2)])
    assert await move(store, (1, 1), move_id="n") == GroupPosition(2, [(1, 1)])


async def test_a_state_of_trees_that_are_not_there_changes_nothing(owner: Owner) -> None:
    store = owner.store
    await ended(owner, "a", "b", "c")
    leases = ids(await store.lease("run", "g", "c", 3, LONG_S))
    with pytest.raises(InvalidInput, match="names tree 4 of the feed of run 'run', which has 3"):
        await move(store, (1, 4))
    await store.ack("run", "g", leases[:2])
    await store.expire("run", 2, owner.epoch)
    for acknowledged, left_out in ((), "2 of"), (((2, 3),), "1 of"), (((1, 1), (3, 3)), "1 of"):
        with pytest.raises(
            InvalidInput, match=f"does not name {left_out} the first 2 trees of run 'run'.*have expired"
        ):
            await move(store, *acknowledged)
    assert await store.ack("run", "g", leases) == []
    assert await move(store, (1, 2)) == GroupPosition(1, [(1, 2)])
    assert trees(await store.lease("run", "g", "c", 9, LONG_S)) == ["c"]


async def test_trees_that_come_again_do_not_expire_before(owner: Owner) -> None:
    store = owner.store
    await ended(owner, "a", "b", "c")
    await store.ack("run", "g", ids(await store.lease("run", "g", "c", 3, LONG_S)))
    assert await store.settled("run") == 3
    await move(store, (1, 1), (3, 3))
    assert await store.settled("run") == 1
    assert await store.expire("run", 3, owner.epoch) == ["a"]
    await store.ack("run", "g", ids(await store.lease("run", "g", "c", 3, LONG_S)))
    assert await store.expire("run", 3, owner.epoch) == ["b", "c"]


async def test_a_state_may_leave_out_many(owner: Owner) -> None:
    names = [str(number) for number in range(1, 2501)]
    await owner.feed(*names)
    await move(owner.store, (2, 2), (2500, 2500))
    assert trees(await owner.store.lease("run", "g", "c", 2500, LONG_S)) == [names[0], *names[2:-1]]


async def test_a_deleted_run_leaves_no_moves(owner: Owner) -> None:
    await ended(owner, "a")
    await move(owner.store, (1, 1))
    await owner.store.delete_run("run", owner.epoch)
    assert await owner.store.open_group("run", "g", latest=False) == GroupPosition(0, [])


# Global batches that ranks share


def step(number: int, world: int, record: bytes = b"record") -> Step:
    return Step(number, world, record)


async def test_what_is_available_is_what_would_be_lent(owner: Owner) -> None:
    store = owner.store
    assert await store.available("run", "g", 9, 0) == Available([], 0)
    assert await store.group_names("run") == ["g"]
    await owner.feed(*"abcdef")
    leases = ids(await store.lease("run", "g", "c", 3, LONG_S))
    await store.release("run", "g", leases[1:2])
    assert await store.available("run", "g", 9, 0) == Available([(2, "b"), (4, "d"), (5, "e"), (6, "f")], 2)
    assert await store.available("run", "g", 2, 0) == Available([(2, "b"), (4, "d")], 2)
    assert await store.group_state("run", "g") == GroupState(0, 2, 4)
    with pytest.raises(GroupMoved):
        await store.available("run", "g", 9, 1)


async def test_a_step_is_taken_once_whoever_asks(owner: Owner) -> None:
    store = owner.store
    await owner.feed(*"abcd")
    await store.release("run", "g", ids(await store.lease("run", "g", "c", 1, LONG_S)))
    assert await store.find_step("run", "g", 0, 0, 2, 0) == Step(1)
    taken = await store.take_step("run", "g", step(1, 2, b"first"), [1, 2], 0)
    there = await store.take_step("run", "g", step(1, 2, b"other"), [3], 0)
    assert taken == there == step(1, 2, b"first")
    assert (taken.taken_now, there.taken_now) == (True, False)
    for rank in (0, 1):
        assert await store.find_step("run", "g", 0, rank, 2, 0) == step(1, 2, b"first")
        assert await store.find_step("run", "g", 1, rank, 2, 0) == step(1, 2, b"first")
    assert await store.group_state("run", "g") == GroupState(0, 2, 2)
    assert await store.available("run", "g", 9, 0) == Available([(3, "c"), (4, "d")], 0)
    assert await store.open_group("run", "g", latest=False) == GroupPosition(0, [], 0, 1)


@pytest.mark.parametrize("seqs", [[1, 2], [2, 4], [3, 4], [4], [2, 3, 4, 5], [9]])
async def test_a_step_takes_only_what_is_available_in_order(owner: Owner, seqs: list[int]) -> None:
    store = owner.store
    await owner.feed(*"abcd")
    kept, gone = ids(await store.lease("run", "g", "c", 2, LONG_S))
    await store.release("run", "g", [gone])
    assert (await store.take_step("run", "g", step(1, 1), seqs, 0)) == (step(1, 1) if seqs == [3, 4] else None)
    assert await store.renew("run", "g", [kept], LONG_S) == []


async def test_entries_of_a_step_are_acknowledged_when_all_ranks_are_done(owner: Owner) -> None:
    store = owner.store
    await owner.feed(*"abcde")
    await store.available("run", "g", 9, 0)
    await store.take_step("run", "g", step(1, 2), [1, 2], 0)
    await store.take_step("run", "g", step(2, 2), [3, 4], 0)
    assert not await store.ack_share("run", "g", 1, 0, 2, 0)
    assert not await store.ack_share("run", "g", 1, 0, 2, 0)
    assert (await store.find_step("run", "g", 0, 0, 2, 0)).number == 2
    assert (await store.find_step("run", "g", 0, 1, 2, 0)).number == 1
    assert (await store.find_step("run", "g", 1, 0, 2, 0)).number == 1
    for rank in (1, 0):
        await store.ack_share("run", "g", 2, rank, 2, 0)
    assert await store.open_group("run", "g", latest=False) == GroupPosition(0, [(3, 4)], 0, 1)
    assert await store.find_step("run", "g", 0, 0, 2, 0) == Step(3)
    assert await store.ack_share("run", "g", 1, 1, 2, 0)
    assert await store.ack_share("run", "g", 1, 1, 2, 0)
    assert await store.open_group("run", "g", latest=False) == GroupPosition(0, [(1, 4)], 2, 0)
    assert await store.group_state("run", "g") == GroupState(4, 0, 1)
    with pytest.raises(InvalidInput, match="all ranks have acknowledged step 2 of group 'g' of run 'run'"):
        await store.find_step("run", "g", 2, 0, 2, 0)
    assert await store.find_step("run", "g", 3, 0, 2, 0) == Step(3)


async def test_ten_ranks_are_told_apart(owner: Owner) -> None:
    await owner.feed("a")
    await owner.store.available("run", "g", 1, 0)
    await owner.store.take_step("run", "g", step(1, 12), [1], 0)
    for rank in (11, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9):
        assert not await owner.store.ack_share("run", "g", 1, rank, 12, 0)
    assert (await owner.store.find_step("run", "g", 0, 0, 12, 0)).number == 1
    assert (await owner.store.find_step("run", "g", 0, 1, 12, 0)).number == 2
    assert await owner.store.ack_share("run", "g", 1, 0, 12, 0)


async def test_a_step_is_shared_anew_only_while_nobody_is_done_with_it(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a", "b")
    await store.available("run", "g", 1, 0)
    await store.take_step("run", "g", step(1, 2), [1], 0)
    assert await store.share_step("run", "g", step(1, 3, b"new"), 2, 0) == step(1, 3, b"new")
    assert await store.share_step("run", "g", step(1, 4, b"late"), 2, 0) == step(1, 3, b"new")
    with pytest.raises(ShareConflict, match="step 1 of group 'g' of run 'run' is shared by 3 ranks, not by 2"):
        await store.ack_share("run", "g", 1, 0, 2, 0)
    assert not await store.ack_share("run", "g", 1, 2, 3, 0)
    with pytest.raises(ShareConflict, match="is shared by 3 ranks, not by 1: start all ranks from the newest"):
        await store.share_step("run", "g", step(1, 1), 3, 0)
    assert await store.find_step("run", "g", 0, 2, 2, 0) == step(1, 3, b"new")
    assert await store.share_step("run", "g", step(2, 1), 1, 0) == Step(2)


async def test_steps_come_one_after_the_other(owner: Owner) -> None:
    store = owner.store
    await owner.feed("a", "b")
    await store.available("run", "g", 1, 0)
    for call in (
        store.find_step("run", "g", 2, 0, 1, 0), store.take_step("run", "g", step(2, 1), [1], 0),
        store.share_step("run", "g", step(2, 1), 1, 0), store.ack_share("run", "g", 1, 0, 1, 0),
        store.ack_share("run", "g", 2, 0, 1, 0),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match=r"and the last one that was taken is 0: ranks take one step after"):
            await call
    for call in (
        store.find_step("run", "g", 0, 0, 1, 1), store.take_step("run", "g", step(1, 1), [1], 1),
        store.share_step("run", "g", step(1, 1), 1, 1), store.ack_share("run", "g", 1, 0, 1, 1),
    ):  # fmt: skip
        with pytest.raises(GroupMoved):
            await call
    assert await store.group_state("run", "g") == GroupState(0, 0, 2)


async def test_steps_that_are_out_stay_out_until_the_group_is_moved(owner: Owner) -> None:
    store = owner.store
    await owner.feed(*"abcd")
    await store.available("run", "g", 1, 0)
    await store.take_step("run", "g", step(1, 1), [1, 2], 0)
    await store.take_step("run", "g", step(2, 1), [3], 0)
    await store.ack_share("run", "g", 1, 0, 1, 0)
    await store.release_all("run", "g", "c")
    assert trees(await store.lease("run", "g", "c", 9, 0.0)) == ["d"]
    there = Move([(1, 2)], "m", steps=1, by_ranks=True)
    assert await store.move_group("run", "g", there) == GroupPosition(0, [(1, 2)], 1, 1)  # it is there
    assert await store.move_group("run", "g", Move([(1, 2)], "n", steps=1)) == GroupPosition(1, [(1, 2)], 1, 0)
    assert await store.find_step("run", "g", 0, 0, 3, 1) == Step(2)
    assert (await store.available("run", "g", 9, 1)).entries == [(3, "c"), (4, "d")]
    await store.take_step("run", "g", step(2, 1), [3], 1)
    with pytest.raises(GroupMoved):
        await store.ack_share("run", "g", 2, 0, 1, 0)


@pytest.mark.parametrize(
    ("acknowledged", "steps"),
    [([], 1), ([(1, 1)], 1), ([(1, 3)], 1), ([(1, 2), (4, 4)], 1), ([(2, 3)], 1), ([(1, 2)], 0), ([(1, 2)], 2)],
)
async def test_a_move_of_ranks_moves_a_group_that_is_elsewhere(
    owner: Owner, acknowledged: list[Range], steps: int
) -> None:
    store = owner.store
    await owner.feed(*"abcd")
    await store.available("run", "g", 1, 0)
    await store.take_step("run", "g", step(1, 1), [1, 2], 0)
    await store.take_step("run", "g", step(2, 1), [3], 0)
    await store.ack_share("run", "g", 1, 0, 1, 0)
    move = Move(acknowledged, "m", steps=steps, by_ranks=True)
    assert await store.move_group("run", "g", move) == GroupPosition(1, acknowledged, steps, 0)


# What goes


async def ended(owner: Owner, *tree_ids: str, run_id: str = "run") -> None:
    """Trees of tasks that ended, whole, with a reward each."""
    await owner.commit(
        runs={run_id: b"run"},
        trees=dict.fromkeys(tree_ids, b"header"),
        nodes={tree_id: [(0, b"root")] for tree_id in tree_ids},
        rewards={tree_id: {"0:math:1": b"reward"} for tree_id in tree_ids},
        tasks={run_id: {f"0:{tree_id}": (tree_id, "digest") for tree_id in tree_ids}},
        history={run_id: {"task": "1 2 0"}},
        memory={run_id: {"task/t": "3"}},
        feed=[(run_id, tree_id) for tree_id in tree_ids],
    )


async def test_settled_is_what_every_group_has_acknowledged_from_the_beginning_on(owner: Owner) -> None:
    store = owner.store
    await ended(owner, "a", "b", "c")
    assert await store.settled("run") == await store.settled("none") == 0
    first = ids(await store.lease("run", "g", "x", 3, LONG_S))
    await store.ack("run", "g", [first[0], first[2]])
    assert await store.settled("run") == 1  # the second is on lease
    await store.ack("run", "g", [first[1]])
    assert await store.settled("run") == 3
    second = ids(await store.lease("run", "late", "x", 2, LONG_S))
    assert await store.settled("run") == 0
    await store.ack("run", "late", second)
    assert await store.settled("run") == 2


async def test_trees_expire_with_their_entries_and_the_others_go_on(owner: Owner) -> None:
    store = owner.store
    await ended(owner, "a", "b", "c")
    leases = ids(await store.lease("run", "g", "x", 2, LONG_S))
    await store.ack("run", "g", leases)
    assert await store.expire("run", 2, owner.epoch) == ["a", "b"]
    assert await store.expire("run", 2, owner.epoch) == []
    assert (await store.expired("run"), await store.expired("none")) == (2, 0)
    assert await store.load_trees(["a", "b", "c"]) == [None, None, await store.load_tree("c")]
    assert (await store.load_tree("c")) == StoredTree(b"header", [b"root"], {"0:math:1": b"reward"})
    assert await store.feed_entries("run") == ["c"]
    assert await store.feed_length("run") == 3
    assert await store.group_state("run", "g") == GroupState(acknowledged=2, leased=0, waiting=1)
    assert await store.ack("run", "g", leases) == []  # acknowledged before: still a no-op
    assert trees(await store.lease("run", "g", "x", 5, LONG_S)) == ["c"]
    assert set(await store.load_tasks("run")) == {"0:a", "0:b", "0:c"}  # submitted again they are known


async def test_a_group_that_would_begin_after_trees_have_expired_is_refused(owner: Owner) -> None:
    store = owner.store
    await ended(owner, "a", "b")
    await store.ack("run", "g", ids(await store.lease("run", "g", "x", 1, LONG_S)))
    await store.expire("run", 1, owner.epoch)
    with pytest.raises(InvalidInput, match="group 'late' is new to run 'run', and 1 of its trees have expired"):
        await store.lease("run", "late", "x", 1, LONG_S)
    assert await store.group_names("run") == ["g"]
    assert trees(await store.lease("run", "g", "x", 1, LONG_S)) == ["b"]


async def test_a_run_is_deleted_with_all_that_is_its_own(owner: Owner) -> None:
    store = owner.store
    await ended(owner, "a", "b")
    await ended(owner, "other", run_id="run:2")
    for group in ("g", "h"):
        await store.lease("run", group, "x", 1, LONG_S)
    assert await store.delete_run("run", owner.epoch) == 2
    assert await store.delete_run("run", owner.epoch) == 0
    assert (await store.run_ids(), await store.load_run("run")) == (["run:2"], None)
    assert (await store.load_tasks("run"), await store.load_history("run")) == ({}, {})
    assert await store.load_memory("run") == {}
    assert await store.load_trees(["a", "b"]) == [None, None]
    assert (await store.feed_length("run"), await store.feed_entries("run")) == (0, [])
    assert (await store.group_names("run"), await store.expired("run")) == ([], 0)
    assert await store.load_tree("other") is not None
    await ended(owner, "a")
    assert trees(await store.lease("run", "g", "x", 1, LONG_S)) == ["a"]  # a new run of that name begins anew


async def test_what_was_decided_of_a_deleted_run_goes_with_it_and_that_of_others_stays(owner: Owner) -> None:
    store = owner.store
    await ended(owner, "a")
    for _ in range(300):  # more than a script takes at once
        await owner.commit(ticks={"run": b"its own", "run:2": b"another's"}, ticks_kept=1 << 20, happenings=b"x")
    await store.delete_run("run", owner.epoch)
    assert [blob for _, blob in await store.load_log("ticks", 0, 1000)] == [b"another's"] * 300
    assert len(await store.load_log("happenings", 0, 1000)) == 300
    await store.delete_run("run:2", owner.epoch)
    assert await store.load_log("ticks", 0, 1000) == []
    await owner.commit(ticks={"run": b"anew"}, ticks_kept=1 << 20)
    assert await store.load_log("ticks", 0, 1000) == [(300 * 16 + 4, b"anew")]  # places go on: who reads sees the gap


async def test_many_trees_go_at_once(owner: Owner) -> None:
    names = [f"t{number}" for number in range(450)]
    await ended(owner, *names)
    await owner.store.ack("run", "g", ids(await owner.store.lease("run", "g", "x", 450, LONG_S)))
    assert await owner.store.expire("run", 420, owner.epoch) == names[:420]
    assert await owner.store.feed_entries("run") == names[420:]
    assert await owner.store.delete_run("run", owner.epoch) == 450
    assert set(await owner.store.load_trees(names)) == {None}


async def test_an_old_owner_removes_nothing(make_store: MakeStore, owner: Owner) -> None:
    await ended(owner, "a")
    await owner.store.ack("run", "g", ids(await owner.store.lease("run", "g", "x", 1, LONG_S)))
    newer = make_store()
    await newer.open()
    for call in (owner.store.expire("run", 1, owner.epoch), owner.store.delete_run("run", owner.epoch)):
        with pytest.raises(StaleEpoch):
            await call
    assert await newer.load_tree("a") is not None
    assert await newer.run_ids() == ["run"]
    await newer.close()
