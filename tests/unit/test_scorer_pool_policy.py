"""What the pool does with workers that are slow, short of breath, or gone; no Ray, fake workers."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.support.eventually import eventually

from treeroll.errors import Unavailable
from treeroll.scorers import pool as pool_module
from treeroll.scorers.base import ErrorKind, Job, ScoreItem, ScoreRequest, ScoreResult
from treeroll.scorers.pool import MAX_BATCH, ScorerPool
from treeroll.scorers.worker import WorkerLost

Behaviour = Callable[[list[Job]], Awaitable[list[ScoreResult]]]


class FakeWorker:
    """Scores every item with the length of its completion, unless told otherwise."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.batches: list[list[str]] = []
        self.closed = False
        self._behaviour = behaviour

    async def score(self, jobs: list[Job]) -> list[ScoreResult]:
        self.batches.append([job.item.completion for job in jobs])
        return await self._behaviour(jobs)

    def close(self) -> None:
        self.closed = True


class Fakes:
    """Starts fake workers; keeps them for inspection."""

    def __init__(self, behaviour: Behaviour, failures: int = 0) -> None:
        self.started: list[FakeWorker] = []
        self.failures = failures  # starts that fail, from now on
        self._behaviour = behaviour

    async def start(self) -> FakeWorker:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise Unavailable("no room")
        self.started.append(FakeWorker(self._behaviour))
        return self.started[-1]

    @property
    def batches(self) -> list[list[str]]:
        return [batch for worker in self.started for batch in worker.batches]


async def lengths(jobs: list[Job]) -> list[ScoreResult]:
    return [ScoreResult(float(len(job.item.completion))) for job in jobs]


def requests(*completions: str) -> list[ScoreRequest]:
    return [ScoreRequest(n, "exact", ScoreItem("", text)) for n, text in enumerate(completions)]


async def test_results_come_in_order_and_batches_are_capped() -> None:
    fakes = Fakes(lengths)
    pool = ScorerPool(1, fakes.start)
    await pool.start()
    results = await pool.score(requests(*("x" * n for n in range(200))))
    await pool.stop()
    assert [result.value for result in results] == [float(n) for n in range(200)]
    assert [len(batch) for batch in fakes.batches] == [MAX_BATCH] * 3 + [200 - 3 * MAX_BATCH]
    assert pool.counts.scored == 200


async def test_work_is_shared_among_workers() -> None:
    async def takes_time(jobs: list[Job]) -> list[ScoreResult]:
        await asyncio.sleep(0.001)
        return await lengths(jobs)

    fakes = Fakes(takes_time)
    pool = ScorerPool(4, fakes.start)
    await pool.start()
    await pool.score(requests(*"abcdefgh"))
    await pool.stop()
    assert all(len(worker.batches) >= 1 for worker in fakes.started)
    assert len(fakes.batches[0]) == 2


async def test_nothing_to_score() -> None:
    pool = ScorerPool(1, Fakes(lengths).start)
    await pool.start()
    assert await pool.score([]) == []
    await pool.stop()


async def test_what_a_worker_leaves_over_comes_first_in_the_next_batch() -> None:
    async def two_at_most(jobs: list[Job]) -> list[ScoreResult]:
        return await lengths(jobs[:2])

    fakes = Fakes(two_at_most)
    pool = ScorerPool(1, fakes.start)
    await pool.start()
    await pool.score(requests(*"abcde"))
    await pool.stop()
    assert fakes.batches == [list("abcde"), list("cde"), list("e")]


async def test_after_a_loss_items_go_alone_and_only_the_culprit_fails() -> None:
    async def dies_of_c(jobs: list[Job]) -> list[ScoreResult]:
        if any(job.item.completion == "c" for job in jobs):
            raise WorkerLost("gone")
        return await lengths(jobs)

    fakes = Fakes(dies_of_c)
    pool = ScorerPool(1, fakes.start)
    await pool.start()
    results = await pool.score(requests(*"abcd"))
    await pool.stop()
    assert [result.kind for result in results] == [None, None, ErrorKind.LOST, None]
    assert results[2].value is None
    assert fakes.batches == [list("abcd"), ["a"], ["b"], ["c"], ["d"]]
    assert len(fakes.started) == 3
    assert all(worker.closed for worker in fakes.started)
    assert pool.counts.errors == {"worker_lost": 1}


@pytest.mark.parametrize("broken", ["raises", "returns nothing"])
async def test_a_bug_in_a_worker_ends_neither_the_lane_nor_the_wait(broken: str) -> None:
    async def behave(jobs: list[Job]) -> list[ScoreResult]:
        if broken == "raises":
            raise RuntimeError("a bug")
        return []

    pool = ScorerPool(1, Fakes(behave).start)
    await pool.start()
    results = await pool.score(requests("a", "b"))
    await pool.stop()
    assert [result.kind for result in results] == [ErrorKind.LOST] * 2


async def test_a_cluster_without_room_delays_items_and_fails_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MAX_BACKOFF_S", 0.01)
    lost = False

    async def dies_once(jobs: list[Job]) -> list[ScoreResult]:
        nonlocal lost
        if not lost:
            lost = True
            fakes.failures = 2
            raise WorkerLost("machine gone")
        return await lengths(jobs)

    fakes = Fakes(dies_once)
    pool = ScorerPool(1, fakes.start)
    await pool.start()
    results = await pool.score(requests("aa"))
    await pool.stop()
    assert results == [ScoreResult(2.0)]
    assert fakes.failures == 0


async def test_start_fails_whole_and_leaves_nothing() -> None:
    fakes = Fakes(lengths, failures=1)
    pool = ScorerPool(3, fakes.start)
    with pytest.raises(Unavailable, match="no room"):
        await pool.start()
    assert all(worker.closed for worker in fakes.started)
    await pool.start()  # there is room now
    assert await pool.score(requests("a")) == [ScoreResult(1.0)]
    await pool.stop()


async def test_a_cancelled_start_leaves_nothing() -> None:
    fakes = Fakes(lengths)

    called = 0

    async def second_one_hangs() -> FakeWorker:
        nonlocal called
        called += 1
        if called == 2:
            await asyncio.sleep(3600)
        return await fakes.start()

    async def one_is_there() -> bool:
        return len(fakes.started) == 1 and called == 2

    starting = asyncio.create_task(ScorerPool(2, second_one_hangs).start())
    await eventually(one_is_there)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert [worker.closed for worker in fakes.started] == [True]


async def test_start_and_stop_are_idempotent_and_leave_no_task() -> None:
    fakes = Fakes(lengths)
    pool = ScorerPool(2, fakes.start)
    await pool.stop()
    await pool.start()
    await pool.start()
    assert len(fakes.started) == 2
    await pool.stop()
    await pool.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert all(worker.closed for worker in fakes.started)


async def test_stopping_gives_waiters_unavailable_and_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(jobs: list[Job]) -> list[ScoreResult]:
        await asyncio.sleep(3600)
        raise AssertionError

    monkeypatch.setattr(pool_module, "MAX_OPEN", 2)
    pool = ScorerPool(1, Fakes(never).start)
    await pool.start()
    waiting = [asyncio.create_task(pool.score(requests("a"))), asyncio.create_task(pool.score(requests("b", "c", "d")))]
    await asyncio.sleep(0.01)
    await pool.stop()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, Unavailable)
    assert pool.counts.scored == 0
    assert not pool.counts.errors
    with pytest.raises(Unavailable):
        await pool.score(requests("a"))


async def test_open_requests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()

    async def when_open(jobs: list[Job]) -> list[ScoreResult]:
        await gate.wait()
        return await lengths(jobs)

    monkeypatch.setattr(pool_module, "MAX_OPEN", 8)
    pool = ScorerPool(1, Fakes(when_open).start)
    await pool.start()
    scoring = asyncio.create_task(pool.score(requests(*("x" * n for n in range(100)))))
    await asyncio.sleep(0.01)
    assert pool.open_requests == 8
    gate.set()
    assert [result.value for result in await scoring] == [float(n) for n in range(100)]
    assert pool.open_requests == 0
    await pool.stop()


async def test_a_cancelled_caller_frees_its_room_and_disturbs_nobody() -> None:
    gate = asyncio.Event()

    async def when_open(jobs: list[Job]) -> list[ScoreResult]:
        await gate.wait()
        return await lengths(jobs)

    fakes = Fakes(when_open)
    pool = ScorerPool(1, fakes.start)
    await pool.start()
    first = asyncio.create_task(pool.score(requests("a")))
    second = asyncio.create_task(pool.score(requests("b", "c")))
    third = asyncio.create_task(pool.score(requests("dd")))

    async def all_are_open() -> bool:
        return pool.open_requests == 4 and bool(fakes.batches)

    await eventually(all_are_open)
    first.cancel()
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    gate.set()
    assert await third == [ScoreResult(2.0)]
    await pool.stop()
    assert fakes.batches[-1][-1] == "dd"
    assert pool.open_requests == 0
    assert pool.counts.scored == 1


async def test_what_is_asked_first_goes_before_what_waits() -> None:
    gate = asyncio.Event()

    async def when_open(jobs: list[Job]) -> list[ScoreResult]:
        await gate.wait()
        return await lengths(jobs[:1])

    fakes = Fakes(when_open)
    pool = ScorerPool(1, fakes.start)
    await pool.start()

    async def asked(so_many: int) -> None:
        async def open_and_one_of_them_begun() -> bool:
            return pool.open_requests == so_many and fakes.batches == [["a"]]

        await eventually(open_and_one_of_them_begun)

    under_way = asyncio.create_task(pool.score(requests("a")))
    await asked(1)
    waiting = asyncio.create_task(pool.score(requests("b", "c")))
    await asked(3)
    urgent = asyncio.create_task(pool.score(requests("dd", "ee"), first=True))
    await asked(5)
    gate.set()
    assert [result.value for result in await urgent] == [2.0, 2.0]
    await asyncio.gather(under_way, waiting)
    await pool.stop()
    assert sorted(batch[0] for batch in fakes.batches[1:3]) == ["dd", "ee"]
    assert [batch[0] for batch in fakes.batches[3:]] == ["b", "c"]
