"""Scoring in real processes: one child, then the pool, on a real local Ray and without. Foreign code stays in it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
from tests.support.eventually import eventually_sync

from treeroll.errors import Unavailable
from treeroll.generator.ray_local import LocalRay
from treeroll.scorers import process
from treeroll.scorers.base import ErrorKind, Job, ScoreItem, ScoreRequest, ScoreResult
from treeroll.scorers.local_worker import LocalWorker
from treeroll.scorers.pool import ScorerPool
from treeroll.scorers.process import ScorerProcess
from treeroll.scorers.worker import StartWorker

ROOT = Path(__file__).resolve().parents[2]
ACT = "python:tests.support.scorer_functions:act"


@pytest.fixture(scope="module")
def scorer() -> Iterator[ScorerProcess]:
    scorer = ScorerProcess()
    yield scorer
    scorer.close()


def job(act: str, timeout_s: float = 60.0) -> Job:
    return Job(ACT, ScoreItem("", act), timeout_s)


def test_scores_in_one_child_until_something_kills_it(scorer: ScorerProcess) -> None:
    first = scorer.score(job("pid"))
    assert first.value not in (None, float(os.getpid()))
    assert scorer.score(job("raise")).kind is ErrorKind.RAISED
    assert scorer.score(job("nan")).kind is ErrorKind.NOT_FINITE
    assert scorer.score(job("system_exit")).kind is ErrorKind.RAISED
    assert scorer.score(job("pid")) == first


@pytest.mark.parametrize("act", ["spin", "deaf_spin", "sleep"])
def test_a_hang_is_cut_at_its_deadline(scorer: ScorerProcess, act: str) -> None:
    assert scorer.score(job("one")) == ScoreResult(1.0)  # loaded
    result = scorer.score(job(act, timeout_s=0.5))
    assert result == ScoreResult.failed(ErrorKind.TIMEOUT, "timeout after 0.5 s")
    assert scorer.score(job("one")) == ScoreResult(1.0)


@pytest.mark.timing
def test_a_hang_is_cut_no_later_than_twice_its_deadline(scorer: ScorerProcess) -> None:
    assert scorer.score(job("one")) == ScoreResult(1.0)  # loaded
    begun = time.monotonic()
    scorer.score(job("deaf_spin", timeout_s=4.0))
    assert 4.0 <= time.monotonic() - begun < 2 * 4.0


def test_the_next_child_is_started_while_an_item_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    start = process._start_child

    def record(fd: int) -> "subprocess.Popen[bytes]":
        child = start(fd)
        started.append(child.pid)
        return child

    monkeypatch.setattr(process, "_start_child", record)
    monkeypatch.setattr(process, "SLOW_S", 0.1)
    scorer = ScorerProcess()
    try:
        assert scorer.score(job("pid")).value == started[0]
        assert scorer.score(job("nap")) == ScoreResult(1.0)  # slow, and in time after all
        assert scorer.score(job("spin", timeout_s=0.5)).kind is ErrorKind.TIMEOUT
        assert len(started) == 2  # the spare, and no third
        assert scorer.score(job("pid")).value == started[1]
    finally:
        scorer.close()
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_spare_that_cannot_load_the_scorer_says_so_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SLOW_S", 0.1)
    scorer = ScorerProcess()
    try:
        assert scorer.score(job("spin", timeout_s=0.5)).kind is ErrorKind.TIMEOUT
        assert scorer.score(Job("python:no.such:thing", ScoreItem("", ""), 5.0)).kind is ErrorKind.UNLOADABLE
        assert scorer.score(job("one")) == ScoreResult(1.0)
    finally:
        scorer.close()


def test_tasks_are_checked_in_the_child_too(scorer: ScorerProcess) -> None:
    results = [scorer.score(Job("check:math", ScoreItem("", "", answer), 5.0)) for answer in ("5", "$$", None)]
    assert [result.value for result in results] == [1.0, None, None]
    assert [result.kind for result in results] == [None, ErrorKind.RAISED, ErrorKind.MISSING]


def test_a_hang_inside_c_code_is_cut_too(scorer: ScorerProcess) -> None:
    """Catastrophic backtracking holds the interpreter lock: no Python thread or signal handler gets through."""
    result = scorer.score(Job("regex:^(a+)+$", ScoreItem("", "a" * 60 + "b"), 0.5))
    assert result.kind is ErrorKind.TIMEOUT


def test_loading_is_not_on_the_items_clock(scorer: ScorerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer.close()
    assert scorer.score(Job("math", ScoreItem("", "\\boxed{2}", "2"), timeout_s=60.0)) == ScoreResult(1.0)
    scorer.close()
    waits: list[float | None] = []

    def pipe() -> tuple[Any, Any]:
        ours, theirs = Pipe()
        poll = ours.poll
        ours.poll = lambda timeout=0.0: waits.append(timeout) or poll(300.0)  # type: ignore[func-returns-value,method-assign]
        return ours, theirs

    monkeypatch.setattr(process, "Pipe", pipe)
    assert scorer.score(job("one", timeout_s=0.2)) == ScoreResult(1.0)
    assert waits == [process.LOAD_TIMEOUT_S, 0.2]


@pytest.mark.parametrize(
    ("act", "how"),
    [("exit", "exit code 1"), ("abort", "killed by SIGABRT"), ("close_all", "")],
)
def test_a_death_is_an_error_after_one_retry(scorer: ScorerProcess, act: str, how: str) -> None:
    result = scorer.score(job(act))
    assert (result.value, result.kind) == (None, ErrorKind.DIED)
    assert how in result.error
    assert scorer.score(job("one")) == ScoreResult(1.0)


def test_an_unloadable_scorer_is_an_error(scorer: ScorerProcess) -> None:
    result = scorer.score(Job("python:no.such:thing", ScoreItem("", ""), 5.0))
    assert result.kind is ErrorKind.UNLOADABLE
    assert "no.such" in result.error


def test_a_scorer_that_never_loads_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOAD_TIMEOUT_S", 0.01)
    with_slow_start = ScorerProcess()
    assert with_slow_start.score(job("one")).kind is ErrorKind.TIMEOUT
    with_slow_start.close()


def test_close_is_idempotent_and_leaves_nothing(scorer: ScorerProcess) -> None:
    pid = int(scorer.score(job("pid")).value or 0)
    scorer.close()
    scorer.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does it on Linux only")
def test_a_hanging_child_dies_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True)
    if parent.stdout is None:
        raise RuntimeError("no pipe")
    pid = int(parent.stdout.readline())
    _until_busy(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    eventually_sync(lambda: not _running(pid))


_PARENT = f"""
import sys
sys.path[:0] = {sys.path!r}
from treeroll.scorers.base import Job, ScoreItem
from treeroll.scorers.process import ScorerProcess
scorer = ScorerProcess()
print(int(scorer.score(Job({ACT!r}, ScoreItem("", "pid"), 60.0)).value), flush=True)
scorer.score(Job({ACT!r}, ScoreItem("", "deaf_spin"), 600.0))
"""


def _until_busy(pid: int) -> None:
    """Wait until a process computes, as only a scorer in its loop does: a tenth of a second more than it has used."""
    ticks = os.sysconf("SC_CLK_TCK")

    def used_s() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    before = used_s()
    eventually_sync(lambda: used_s() > before + 0.1)


def _running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "services"), str(ROOT)]))  # workers inherit it
        local = LocalRay(2)
        local.start()
    yield
    local.stop()


@pytest.fixture(params=["on Ray", "on this machine"])
def start_worker(request: pytest.FixtureRequest) -> StartWorker | None:
    if request.param == "on this machine":
        return LocalWorker.start
    request.getfixturevalue("local_ray")
    return None


@pytest.fixture
async def pool(start_worker: StartWorker | None) -> AsyncIterator[ScorerPool]:
    pool = ScorerPool(1, start_worker)
    await pool.start()
    yield pool
    await pool.stop()


def acts(*names: str) -> list[ScoreRequest]:
    return [ScoreRequest(n, ACT, ScoreItem("", name)) for n, name in enumerate(names)]


async def test_pool_without_ray_says_so() -> None:
    with pytest.raises(Unavailable, match="ray"):
        await ScorerPool().start()


async def test_pool_scores_many_with_several_scorers(pool: ScorerPool) -> None:
    items = [ScoreItem("", f"\\boxed{{{n}}}", "7") for n in range(100)]
    requests = [ScoreRequest(n, ("arith", "exact", "math")[n % 3], item) for n, item in enumerate(items)]
    results = await pool.score(requests, timeout_s=60.0)
    assert [result.value for result in results] == [float(n == 7) for n in range(100)]
    assert pool.counts.scored == 100


async def test_one_bad_item_of_each_kind_touches_no_other(pool: ScorerPool) -> None:
    bad = {
        "raise": ErrorKind.RAISED,
        "nan": ErrorKind.NOT_FINITE,
        "inf": ErrorKind.NOT_FINITE,
        "text": ErrorKind.NOT_A_NUMBER,
        "exit": ErrorKind.DIED,
        "spin": ErrorKind.TIMEOUT,
    }
    names = [name for culprit in bad for name in ("one", culprit, "zero")]
    results = await pool.score(acts(*names), timeout_s=3.0)  # also for those that come at once, on a busy machine
    expected = [{"one": 1.0, "zero": 0.0}.get(name) for name in names]
    assert [result.value for result in results] == expected
    assert [result.kind for result in results] == [bad.get(name) for name in names]
    assert all(bool(result.error) == (result.value is None) for result in results)
    assert pool.counts.scored == 12
    assert pool.counts.errors == {"raised": 1, "not_finite": 2, "not_a_number": 1, "died": 1, "timeout": 1}


@pytest.mark.timing
async def test_a_hang_is_reported_no_later_than_twice_its_deadline(pool: ScorerPool) -> None:
    await pool.score(acts("one"))  # loaded
    begun = time.monotonic()
    (result,) = await pool.score(acts("deaf_spin"), timeout_s=4.0)
    assert result == ScoreResult.failed(ErrorKind.TIMEOUT, "timeout after 4 s")
    assert time.monotonic() - begun < 2 * 4.0


async def test_slow_items_do_not_hold_up_a_whole_batch(pool: ScorerPool) -> None:
    """Five items of 0.4 s fill more than one call; all get their score."""
    results = await pool.score(acts(*["nap"] * 5), timeout_s=60.0)
    assert [result.value for result in results] == [1.0] * 5


async def test_an_item_that_kills_the_actor_is_an_error_and_the_rest_are_scored(local_ray: None) -> None:
    pool = ScorerPool(workers=1)
    await pool.start()
    results = await pool.score(acts("one", "kill_actor", "zero"), timeout_s=60.0)
    assert [result.value for result in results] == [1.0, None, 0.0]
    assert results[1].kind is ErrorKind.LOST
    assert await pool.score(acts("one")) == [ScoreResult(1.0)]
    await pool.stop()


async def test_stop_leaves_no_process_and_gives_waiters_unavailable(start_worker: StartWorker | None) -> None:
    pool = ScorerPool(2, start_worker)
    await pool.start()
    results = await pool.score(acts("pid"))
    waiting = asyncio.create_task(pool.score(acts("deaf_spin", "deaf_spin"), timeout_s=600.0))
    pid = int(results[0].value or 0)
    await asyncio.to_thread(_until_busy, pid)
    await pool.stop()
    await pool.stop()
    with pytest.raises(Unavailable):
        await waiting
    await asyncio.to_thread(eventually_sync, lambda: not _running(pid))
    assert asyncio.all_tasks() == {asyncio.current_task()}
