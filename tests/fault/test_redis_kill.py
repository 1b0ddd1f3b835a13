"""Redis killed, its parent killed, callers cancelled: nothing answered for is lost, nobody gets another's answer."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from tests.support.eventually import eventually

from treeroll.chaos.edge import Edge
from treeroll.errors import StoreDown, StoreError
from treeroll.store.base import Commit, GroupState
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore

LONG_S = 3600.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis", durability="always") as server:
        yield server


def kill(server: EmbeddedRedis) -> None:
    os.kill(server.pid, signal.SIGKILL)
    server.stop()  # returns when the process is gone and waited for


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def growth(number: int) -> Commit:
    """The commit that adds node `number` to one tree, and ends another."""
    return Commit(
        runs={"run": b"%d" % number},
        trees={"tree": b"h", f"ended-{number}": b"h"},
        nodes={"tree": [(number, b"%d" % number * 100)]},
        feed=[("run", f"ended-{number}")],
    )


async def test_all_that_was_committed_is_there_after_a_kill(server: EmbeddedRedis) -> None:
    store = RedisStore(server.url, durability="always")
    epoch = await store.open()
    answered = 0

    async def write() -> None:
        nonlocal answered
        for number in range(100_000):
            await store.commit(growth(number), epoch)
            answered = number + 1

    async def enough() -> bool:
        return answered >= 200

    writer = asyncio.create_task(write())
    await eventually(enough)
    kill(server)
    with pytest.raises(StoreError, match="does not answer"):
        await writer
    await store.close()

    server.start()
    again = RedisStore(server.url, durability="always")
    assert await again.open() > epoch
    tree = await again.load_tree("tree")
    assert tree is not None
    # One commit more may have been written, its answer killed with the server.
    assert len(tree.nodes) in (answered, answered + 1)
    assert tree.nodes[:answered] == [b"%d" % number * 100 for number in range(answered)]
    assert await again.feed_entries("run") == [f"ended-{number}" for number in range(len(tree.nodes))]
    assert await again.load_run("run") == b"%d" % (len(tree.nodes) - 1)
    await again.close()


async def test_leases_and_acknowledgements_survive_a_kill(server: EmbeddedRedis) -> None:
    store = RedisStore(server.url, durability="always")
    epoch = await store.open()
    for number in range(4):
        await store.commit(growth(number), epoch)
    await store.lease("run", "g", "c", 1, 0.0)
    leases = [lease.lease_id for lease in await store.lease("run", "g", "c", 3, LONG_S)]
    await store.ack("run", "g", leases[:1])
    kill(server)
    server.start()
    assert await store.ack("run", "g", leases[:2]) == []
    assert await store.renew("run", "g", leases[2:], LONG_S) == []
    assert await store.group_state("run", "g") == GroupState(2, 1, 1)
    await store.close()


async def test_an_owner_goes_on_with_a_server_that_came_back(server: EmbeddedRedis) -> None:
    store = RedisStore(server.url, durability="always")
    epoch = await store.open()
    await store.commit(growth(0), epoch)
    kill(server)
    with pytest.raises(StoreError):
        await store.commit(growth(1), epoch)
    server.start()
    await store.commit(growth(1), epoch)
    assert await store.feed_entries("run") == ["ended-0", "ended-1"]
    await store.close()


async def test_a_server_that_lost_commits_it_had_answered_for_is_found_out(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    store = RedisStore(server.url, durability="always")
    epoch = await store.open()
    await store.commit(growth(0), epoch)
    file = tmp_path / "redis" / "appendonly.aof"
    backup = file.read_bytes()
    await store.commit(growth(1), epoch)
    kill(server)
    file.write_bytes(backup)
    server.start()
    with pytest.raises(StoreError, match=r"went back in time, to commit 1 .* had answered for commit 2"):
        await store.commit(growth(2), epoch)
    assert await store.feed_entries("run") == ["ended-0"]
    await store.close()


PARENT = """
import signal, sys
from treeroll.store.embedded import EmbeddedRedis
server = EmbeddedRedis(sys.argv[1])
server.start()
print(server.pid, flush=True)
signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
@pytest.mark.parametrize("fatal", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_dies_with_its_parent_and_leaves_its_directory_free(tmp_path: Path, fatal: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        if parent.stdout is None:
            pytest.fail("the parent has no output")
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(fatal)
        parent.wait()
    with EmbeddedRedis(tmp_path):
        assert not alive(pid)


async def test_cancelled_calls_never_leave_their_answer_to_another(server: EmbeddedRedis) -> None:
    store = RedisStore(server.url, durability="always")
    epoch = await store.open()
    names = [f"run-{number}" for number in range(40)]
    await store.commit(Commit(runs={name: name.encode() * 50 for name in names}), epoch)
    chance = random.Random(0)

    async def read(name: str) -> None:
        assert await store.load_run(name) == name.encode() * 50

    async def cancel_soon(task: asyncio.Task[None]) -> None:
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        task.cancel()

    cancelled = 0
    for _ in range(60):
        readers = [asyncio.create_task(read(name)) for name in chance.sample(names, 8)]
        await asyncio.gather(*(cancel_soon(task) for task in readers[::2]))
        done = await asyncio.gather(*readers, return_exceptions=True)
        assert done[1::2] == [None] * 4
        assert {type(result) for result in done[::2]} <= {type(None), asyncio.CancelledError}
        cancelled += sum(isinstance(result, asyncio.CancelledError) for result in done)
    assert cancelled > 20
    await store.close()


async def test_commits_of_cancelled_callers_are_made_whole_and_in_order(server: EmbeddedRedis) -> None:
    store = RedisStore(server.url, durability="always")
    epoch = await store.open()
    chance = random.Random(0)
    for number in range(100):
        task = asyncio.create_task(store.commit(growth(number), epoch))
        for _ in range(1 + chance.randrange(10)):
            await asyncio.sleep(0)
        task.cancel()
    await store.commit(growth(100), epoch)
    assert await store.feed_entries("run") == [f"ended-{number}" for number in range(101)]
    await store.close()


def test_a_server_that_is_gone_behind_a_proxy_is_down_and_comes_back_also_on_the_loop_of_serve(
    server: EmbeddedRedis,
) -> None:
    """A proxy takes connections that nobody answers: they end in the middle of redis-py's greeting."""

    async def main() -> None:
        async with Edge(lambda: asyncio.open_unix_connection(server.url.removeprefix("unix://"))) as edge:
            store = RedisStore(f"redis://{edge.address}/0", durability="always")
            epoch = await store.open()
            await asyncio.to_thread(kill, server)
            for _ in range(5):
                with pytest.raises(StoreDown):
                    await store.commit(growth(0), epoch)
            await asyncio.to_thread(server.start)
            await store.commit(growth(0), epoch)
            assert await store.feed_entries("run") == ["ended-0"]
            await store.close()

    uvloop.run(main())
