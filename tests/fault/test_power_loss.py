"""The power goes: what Redis wrote and had not had synced is gone. With durability always nothing answered for is."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from treeroll.store.base import Commit
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore

SOURCE = Path(__file__).parents[1] / "support" / "synced_size.c"
ENOUGH = 200

Starts = Callable[[str], EmbeddedRedis]


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Starts]:
    """Starts a server of a durability, on a disk that forgets."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler for the library that tells what was synced")
    library = tmp_path / "synced_size.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    with ExitStack() as stack:

        def start(durability: str) -> EmbeddedRedis:
            server = EmbeddedRedis(tmp_path / "redis", durability=durability)
            with monkeypatch.context() as environment:
                environment.setenv("LD_PRELOAD", str(library))
                environment.setenv("SYNCED_SIZE", str(tmp_path / "synced"))
                return stack.enter_context(server)

        yield start


def lose_power(server: EmbeddedRedis, place: Path) -> None:
    """Everything stops, and of the file there is what was synced; then it starts again."""
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    synced = place / "synced"  # which is not there before the first time
    os.truncate(place / "redis" / "appendonly.aof", int(synced.read_text() or 0) if synced.exists() else 0)
    server.start()


async def answered(server: EmbeddedRedis, durability: str) -> int:
    """Has commits made, and returns the number of the last one that was answered for."""
    store = RedisStore(server.url, durability=durability)
    epoch = await store.open()
    for number in range(1, ENOUGH + 1):
        await store.commit(Commit(runs={"run": b"%d" % number}), epoch)
    await store.close()
    return ENOUGH


async def there(server: EmbeddedRedis) -> int:
    store = RedisStore(server.url)
    found = int(await store.load_run("run") or b"0")
    await store.close()
    return found


async def test_with_always_all_that_was_answered_for_is_there(starts: Starts, tmp_path: Path) -> None:
    server = starts("always")
    last = await answered(server, "always")
    lose_power(server, tmp_path)
    assert await there(server) == last


async def test_with_everysec_the_last_commits_are_not_so_this_disk_does_forget(starts: Starts, tmp_path: Path) -> None:
    server = starts("everysec")
    for _ in range(20):  # a sync may have come just now
        last = await answered(server, "everysec")
        lose_power(server, tmp_path)
        if await there(server) < last:
            return
    pytest.fail("whatever was written was there after the power had gone")
