"""What the embedded server promises: private, one per directory, data kept, and sentences when it cannot start."""

import os
import threading
from pathlib import Path

import pytest

from treeroll.errors import StoreError
from treeroll.store.base import Commit
from treeroll.store.embedded import SERVER_VARIABLE, EmbeddedRedis, find_server
from treeroll.store.redis import RedisStore


async def put(server: EmbeddedRedis, value: bytes, durability: str = "everysec") -> None:
    store = RedisStore(server.url, durability=durability)
    await store.commit(Commit(runs={"run": value}), await store.open())
    await store.close()


async def get(server: EmbeddedRedis) -> bytes | None:
    store = RedisStore(server.url)
    value = await store.load_run("run")
    await store.close()
    return value


@pytest.mark.parametrize("durability", ["everysec", "always"])
async def test_data_is_there_after_a_stop_and_a_start(tmp_path: Path, durability: str) -> None:
    with EmbeddedRedis(tmp_path, durability=durability) as server:
        await put(server, b"kept", durability)
    with EmbeddedRedis(tmp_path, durability=durability) as server:
        assert await get(server) == b"kept"


async def test_a_stopped_server_may_start_again_and_stop_again(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    await put(server, b"kept")
    server.stop()
    server.stop()
    server.start()
    assert await get(server) == b"kept"
    server.stop()


def test_the_server_has_a_session_of_its_own(redis_server: EmbeddedRedis) -> None:
    assert os.getsid(redis_server.pid) == redis_server.pid != os.getsid(0)


async def test_the_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    await put(server, b"alive")
    assert await get(server) == b"alive"
    server.stop()


async def test_a_directory_too_deep_for_a_socket_works_too(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60) / "with space"
    with EmbeddedRedis(deep) as server:
        await put(server, b"deep")
        short = Path(server.url.removeprefix("unix://")).parent
        assert short.stat().st_mode & 0o777 == 0o700
    assert not short.exists()
    assert (deep / "appendonly.aof").stat().st_size > 0


async def test_odd_directory_names_work(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "a b?%é") as server:
        await put(server, b"odd")
        assert await get(server) == b"odd"


def test_a_second_server_on_a_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treeroll.store.embedded._LOCK_TIMEOUT_S", 0.0)
    with EmbeddedRedis(tmp_path) as first:
        with pytest.raises(StoreError, match="in use by another embedded Redis"):
            EmbeddedRedis(tmp_path).start()
        with pytest.raises(StoreError, match="runs already"):
            first.start()
        assert first.pid


def test_a_damaged_file_is_reported_with_the_log(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_bytes(b"this is no append-only file\r\n" * 10)
    with pytest.raises(StoreError, match=r"did not start; its log ends: .*[Bb]ad file format"):
        EmbeddedRedis(tmp_path).start()


def test_a_program_that_is_no_server_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERVER_VARIABLE, "/bin/false")
    with pytest.raises(StoreError, match="did not start"):
        EmbeddedRedis(tmp_path).start()
    monkeypatch.setenv(SERVER_VARIABLE, "/no/such/program")
    with pytest.raises(StoreError, match="/no/such/program"):
        EmbeddedRedis(tmp_path).start()


def test_the_server_program_may_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_server().endswith("redis-server")
    monkeypatch.setenv(SERVER_VARIABLE, "/bin/true")
    assert find_server() == "/bin/true"


def test_a_directory_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot use"):
        EmbeddedRedis(tmp_path / "file" / "redis").start()


def test_a_server_that_was_not_started_has_no_pid(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="start it first"):
        _ = EmbeddedRedis(tmp_path).pid
