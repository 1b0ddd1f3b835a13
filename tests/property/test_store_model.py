"""The memory store and Redis give the same answers to any sequence of calls."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis import Redis

from treeroll import ranges
from treeroll.errors import TreerollError
from treeroll.store.base import Available, Commit, FeedMark, GroupPosition, Move, Step, Store, lost_after, marked
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.memory import MemoryStore
from treeroll.store.redis import RedisStore

RUNS = st.sampled_from(["run", "run:2"])
TREES = st.sampled_from(["a", "b", "c", "d", "e"])
GROUPS = st.sampled_from(["g", "h"])
CONSUMERS = st.sampled_from(["one", "two"])
# Leases end at once or never: the two stores' clocks cannot disagree about those.
LEASES_S = st.sampled_from([0.0, 3600.0])
EPOCHS = st.sampled_from([None, None, None, 0, 1])
MOVES = st.sampled_from(["m", "n"])
STEPS, RANKS, WORLDS = st.integers(0, 2), st.integers(0, 1), st.integers(1, 2)
STEP_EPOCHS = st.sampled_from([0, 0, 1, 2])
# Mostly what is available, and sometimes what may not be.
SPARE = st.one_of(st.just([]), st.just([]), st.lists(st.integers(1, 6), max_size=2, unique=True))
RECORDS = st.binary(max_size=8)
COMMITS = st.builds(
    Commit,
    runs=st.dictionaries(RUNS, RECORDS),
    trees=st.dictionaries(TREES, RECORDS),
    nodes=st.dictionaries(TREES, st.lists(st.tuples(st.integers(0, 3), RECORDS), max_size=4)),
    rewards=st.dictionaries(TREES, st.dictionaries(st.sampled_from(["0:s:1", "1:s:1"]), RECORDS, max_size=2)),
    tasks=st.dictionaries(RUNS, st.dictionaries(st.sampled_from(["0:t", "1:t"]), st.tuples(TREES, TREES))),
    history=st.dictionaries(RUNS, st.dictionaries(st.sampled_from(["t", "u"]), TREES)),
    feed=st.lists(st.tuples(RUNS, TREES), max_size=4),
)
FEEDS = st.builds(Commit, feed=st.lists(st.tuples(RUNS, TREES), min_size=1, max_size=4, unique=True))

Call = Callable[[Store], Awaitable[Any]]


async def opened(store: Store, run: str, group: str) -> list[FeedMark]:
    """What `GroupPosition` does not compare by."""
    return (await store.open_group(run, group, latest=False)).opened


class StoreModel(RuleBasedStateMachine):
    """Does everything to both stores."""

    def __init__(self, url: str) -> None:
        super().__init__()
        ticks = itertools.count()
        with Redis.from_url(url) as redis:
            redis.flushall()
        self.runner = asyncio.Runner()
        self.stores: list[Store] = [MemoryStore(clock=lambda: float(next(ticks))), RedisStore(url)]
        self.epoch = self.same(lambda store: store.open())
        self.lease_ids: list[str] = ["nonsense", "0.9.1.one"]

    def teardown(self) -> None:
        self.runner.run(self.stores[1].close())
        self.runner.close()

    def same(self, call: Call) -> Any:
        memory, redis = (self.runner.run(outcome(call(store))) for store in self.stores)
        assert memory == redis
        return memory

    @rule(commit=COMMITS | FEEDS, age=st.sampled_from([0, 0, 0, 0, 1]))
    def commit(self, commit: Commit, age: int) -> None:
        self.same(lambda store: store.commit(commit, self.epoch - age))

    @rule()
    def take_over(self) -> None:
        self.epoch = self.same(lambda store: store.open())

    @rule(run=RUNS, group=GROUPS, consumer=CONSUMERS, count=st.integers(0, 4), lease_s=LEASES_S, epoch=EPOCHS)
    def lease(self, run: str, group: str, consumer: str, count: int, lease_s: float, epoch: int | None) -> None:
        leases = self.same(lambda store: store.lease(run, group, consumer, count, lease_s, epoch))
        if isinstance(leases, list):
            self.lease_ids += [lease.lease_id for lease in leases]

    @rule(run=RUNS, group=GROUPS, latest=st.booleans())
    def open_group(self, run: str, group: str, latest: bool) -> None:
        self.same(lambda store: store.open_group(run, group, latest=latest))
        self.same(lambda store: opened(store, run, group))

    @rule(
        run=RUNS,
        group=GROUPS,
        named=st.sets(st.integers(1, 6)),
        move_id=MOVES,
        steps=STEPS,
        by_ranks=st.booleans(),
        seen=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), max_size=2),
    )
    def move_group(
        self,
        run: str,
        group: str,
        named: set[int],
        move_id: str,
        steps: int,
        by_ranks: bool,
        seen: list[tuple[int, int]],
    ) -> None:
        move = Move(ranges.of(named), move_id, steps, by_ranks, seen)
        self.same(lambda store: store.move_group(run, group, move))

    @rule(run=RUNS, group=GROUPS)
    def move_to_where_it_is(self, run: str, group: str) -> None:
        there = self.same(lambda store: store.open_group(run, group, latest=False))
        if isinstance(there, GroupPosition):
            move = Move(there.acknowledged, "here", there.steps, True)
            self.same(lambda store: store.move_group(run, group, move))

    @rule(run=RUNS, group=GROUPS, number=STEPS, rank=RANKS, world=WORLDS, epoch=STEP_EPOCHS)
    def find_step(self, run: str, group: str, number: int, rank: int, world: int, epoch: int) -> None:
        self.same(lambda store: store.find_step(run, group, number, rank, world, epoch))

    @rule(run=RUNS, group=GROUPS, number=STEPS, world=WORLDS, epoch=STEP_EPOCHS, count=st.integers(0, 3), spare=SPARE)
    def take_step(
        self, run: str, group: str, number: int, world: int, epoch: int, count: int, spare: list[int]
    ) -> None:
        found = self.same(lambda store: store.available(run, group, count + 1, epoch))
        seqs = spare or [seq for seq, _ in found.entries[:count]] if isinstance(found, Available) else spare
        self.same(lambda store: store.take_step(run, group, Step(number + 1, world, b"record"), seqs, epoch))

    @rule(run=RUNS, group=GROUPS, number=STEPS, world=WORLDS, old=WORLDS, epoch=STEP_EPOCHS)
    def share_step(self, run: str, group: str, number: int, world: int, old: int, epoch: int) -> None:
        self.same(lambda store: store.share_step(run, group, Step(number + 1, world, b"other"), old, epoch))

    @rule(run=RUNS, group=GROUPS, number=STEPS, rank=RANKS, world=WORLDS, epoch=STEP_EPOCHS)
    def ack_share(self, run: str, group: str, number: int, rank: int, world: int, epoch: int) -> None:
        self.same(lambda store: store.ack_share(run, group, number + 1, rank, world, epoch))

    @rule(run=RUNS, group=GROUPS, data=st.data(), lease_s=LEASES_S)
    def renew(self, run: str, group: str, data: st.DataObject, lease_s: float) -> None:
        chosen = self.choose(data)
        self.same(lambda store: store.renew(run, group, chosen, lease_s))

    @rule(run=RUNS, group=GROUPS, data=st.data())
    def ack(self, run: str, group: str, data: st.DataObject) -> None:
        chosen = self.choose(data)
        self.same(lambda store: store.ack(run, group, chosen))

    @rule(run=RUNS, group=GROUPS, data=st.data())
    def release(self, run: str, group: str, data: st.DataObject) -> None:
        chosen = self.choose(data)
        self.same(lambda store: store.release(run, group, chosen))

    @rule(run=RUNS, group=GROUPS, consumer=CONSUMERS)
    def release_all(self, run: str, group: str, consumer: str) -> None:
        self.same(lambda store: store.release_all(run, group, consumer))

    @rule(run=RUNS, upto=st.integers(0, 6))
    def expire(self, run: str, upto: int) -> None:
        settled = self.same(lambda store: store.settled(run))
        gone = self.same(lambda store: store.expire(run, upto, self.epoch))
        assert len(gone) <= min(upto, settled)

    @rule(run=RUNS)
    def delete_run(self, run: str) -> None:
        self.same(lambda store: store.delete_run(run, self.epoch))

    def choose(self, data: st.DataObject) -> list[str]:
        return data.draw(st.lists(st.sampled_from(self.lease_ids), max_size=4))

    @invariant()
    def everything_reads_the_same(self) -> None:
        self.same(read_all)

    @invariant()
    def every_entry_is_in_one_place(self) -> None:
        entries = self.same(lambda store: store.feed_length("run"))
        state = self.same(lambda store: store.group_state("run", "g"))
        assert state.acknowledged + state.leased + state.waiting == entries
        assert min(state.acknowledged, state.leased, state.waiting) >= 0


async def outcome(call: Awaitable[Any]) -> Any:
    """What a call returned, or the kind of error it raised."""
    try:
        return await call
    except TreerollError as error:
        return type(error)


async def read_all(store: Store) -> Any:
    runs = ["run", "run:2", "none"]
    return (
        sorted(await store.run_ids()),
        [await store.load_run(run) for run in runs],
        [await store.load_tasks(run) for run in runs],
        [await store.load_history(run) for run in runs],
        [await store.load_memory(run) for run in runs],
        [await store.feed_entries(run) for run in runs],
        [(await store.settled(run), await store.expired(run)) for run in runs],
        [sorted(await store.group_names(run)) for run in runs],
        [await store.group_state(run, group) for run in runs for group in ("g", "h")],
        [await store.unacknowledged(run, group) for run in runs for group in ("g", "h")],
        await store.load_trees(["a", "b", "c", "d", "e", "none"]),
    )


def test_memory_and_redis_answer_alike(redis_server: EmbeddedRedis) -> None:
    limits = settings(
        max_examples=40,
        stateful_step_count=30,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking a failure takes minutes: do that by hand
    )
    run_state_machine_as_test(lambda: StoreModel(redis_server.url), settings=limits)


@given(st.lists(st.integers(1, 9), max_size=8), st.integers(0, 9), st.integers(1, 9))
def test_what_is_not_remembered_of_owners_would_have_said_nothing_more(
    entries: list[int], epoch: int, last: int
) -> None:
    everything = list(enumerate(entries, 1))
    kept: list[FeedMark] = []
    for mark in everything:
        kept = marked(kept, *mark)
    assert lost_after(kept, (epoch, last)) == lost_after(everything, (epoch, last))
    assert kept == sorted(kept, key=lambda mark: mark[1])
