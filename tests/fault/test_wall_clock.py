"""Redis' wall clock jumps by an hour while leases are held: it costs nobody a lease, and keeps nobody's."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from tests.support.eventually import eventually

from treeroll.store.base import Commit, GroupState, Step
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore
from treeroll.whole_file import write_whole

SOURCE = Path(__file__).parents[1] / "support" / "skewed_clock.c"
HOUR_S, LONG_S, SHORT_S = 3600, 60.0, 0.05
JUMPS = pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S], ids=["ahead", "back"])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedRedis]:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler for the library that makes a clock wrong")
    library = tmp_path / "skewed_clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("SKEWED_CLOCK", str(tmp_path / "skew"))
    with EmbeddedRedis(tmp_path / "redis") as server:
        monkeypatch.delenv("LD_PRELOAD")
        yield server


@pytest.fixture
def jump(server: EmbeddedRedis, tmp_path: Path) -> Callable[[int], None]:
    """Makes the server's clock wrong by so many seconds."""

    def jump(seconds: int) -> None:
        with Redis.from_url(server.url) as redis:
            before = redis.time()[0]
            # The server reads it at any time, and no number would be a clock that is right.
            write_whole(tmp_path / "skew", str(seconds).encode(), 0o600)
            assert abs(redis.time()[0] - before - seconds) < HOUR_S / 2, "the clock did not jump"

    return jump


async def opened(server: EmbeddedRedis) -> RedisStore:
    store = RedisStore(server.url)
    await store.commit(Commit(feed=[("run", tree) for tree in "abcd"]), await store.open())
    return store


@JUMPS
async def test_leases_that_are_held_stay_held(server: EmbeddedRedis, jump: Callable[[int], None], jump_s: int) -> None:
    store = await opened(server)
    leases = [lease.lease_id for lease in await store.lease("run", "g", "c", 3, LONG_S)]
    jump(jump_s)
    assert await store.group_state("run", "g") == GroupState(0, 3, 1)
    assert [lease.tree_id for lease in await store.lease("run", "g", "other", 9, LONG_S)] == ["d"]
    assert await store.renew("run", "g", leases, LONG_S) == []
    assert await store.ack("run", "g", leases) == []
    await store.close()


@JUMPS
async def test_leases_of_the_dead_end_all_the_same(
    server: EmbeddedRedis, jump: Callable[[int], None], jump_s: int
) -> None:
    store = await opened(server)
    first = [lease.lease_id for lease in await store.lease("run", "g", "dead", 2, SHORT_S)]
    jump(jump_s)
    await store.renew("run", "g", first[:1], SHORT_S)

    async def are_over() -> bool:
        return await store.group_state("run", "g") == GroupState(0, 0, 4)

    await eventually(are_over)
    assert sorted(lease.tree_id for lease in await store.lease("run", "g", "other", 9, LONG_S)) == [*"abcd"]
    await store.close()


@JUMPS
async def test_global_batches_take_what_is_free_and_nothing_else(
    server: EmbeddedRedis, jump: Callable[[int], None], jump_s: int
) -> None:
    store = await opened(server)
    await store.lease("run", "g", "c", 2, LONG_S)
    jump(jump_s)
    available = await store.available("run", "g", 9, 0)
    assert (available.entries, available.on_lease) == ([(3, "c"), (4, "d")], 2)
    assert await store.take_step("run", "g", Step(1, 1, b"record"), [1, 2], 0) is None
    assert await store.take_step("run", "g", Step(1, 1, b"record"), [3, 4], 0) is not None
    await store.close()


async def test_a_new_owner_goes_on_from_the_tick_of_the_last_one_whatever_the_clock_says(
    server: EmbeddedRedis, jump: Callable[[int], None]
) -> None:
    store = await opened(server)
    await store.lease("run", "g", "c", 2, LONG_S)
    jump(HOUR_S)
    newer = RedisStore(server.url)
    await newer.open()
    assert await newer.group_state("run", "g") == GroupState(0, 2, 2)
    await store.close()
    await newer.close()
