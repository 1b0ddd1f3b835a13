"""What only the Redis store promises: settings it insists on, one trip per commit, and a schema others may read."""

import asyncio
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from redis import Redis
from tests.support.eventually import eventually

from treeroll import clock
from treeroll.errors import InvalidInput, StaleEpoch, StoreDown, StoreError, TreeChanged
from treeroll.store import keys
from treeroll.store.base import PAGE_BYTES, Commit, GroupState
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.factory import make_store
from treeroll.store.memory import MemoryStore
from treeroll.store.redis import RedisStore
from treeroll.store.redis_connection import Arg, Command, ask


@pytest.fixture
def redis(redis_server: EmbeddedRedis) -> Iterator[Any]:
    """A plain client of the empty server; settings and users it changed are put back."""
    with Redis.from_url(redis_server.url, decode_responses=True) as client:
        client.flushall()
        yield client
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendfsync", "everysec")
        client.config_set("appendonly", "yes")
        client.acl_deluser("limited")


async def refusal(store: RedisStore) -> str:
    with pytest.raises(StoreError) as caught:
        await store.open()
    await store.close()
    return str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("maxmemory-policy", "allkeys-lru", "set `maxmemory-policy noeviction`"),
        ("appendonly", "no", "set `appendonly yes`"),
        ("appendfsync", "no", "set `appendfsync everysec`"),
    ],
)
async def test_a_server_that_may_lose_data_is_refused(
    redis: Any, redis_server: EmbeddedRedis, setting: str, value: str, remedy: str
) -> None:
    redis.config_set(setting, value)
    assert remedy in await refusal(RedisStore(redis_server.url))


async def test_durability_always_needs_a_server_that_always_syncs(redis: Any, redis_server: EmbeddedRedis) -> None:
    assert "set `appendfsync always`" in await refusal(RedisStore(redis_server.url, durability="always"))
    redis.config_set("appendfsync", "always")
    for durability in ("always", "everysec"):
        store = RedisStore(redis_server.url, durability=durability)
        assert await store.open() > 0
        await store.close()


async def test_a_user_that_may_not_read_settings_can_still_own_the_store(
    redis: Any, redis_server: EmbeddedRedis
) -> None:
    redis.acl_setuser(
        "limited", enabled=True, passwords=["+secret"], keys=["treeroll:1:*"], categories=["+@all", "-@admin"],
        commands=["-config"],
    )  # fmt: skip
    store = RedisStore(f"{redis_server.url}?username=limited&password=secret")
    epoch = await store.open()
    await store.commit(Commit(trees={"t": b""}, nodes={"t": [(0, b"")]}, feed=[("run", "t")]), epoch)
    leases = await store.lease("run", "g", "c", 1, 60.0)
    assert await store.ack("run", "g", [leases[0].lease_id]) == []
    assert await store.group_state("run", "g") == GroupState(1, 0, 0)
    redis.config_set("maxmemory-policy", "allkeys-lru")
    assert "maxmemory-policy" in await refusal(store)


async def test_a_wrong_password_is_an_error_that_does_not_show_it(redis: Any, redis_server: EmbeddedRedis) -> None:
    redis.acl_setuser("limited", enabled=True, passwords=["+secret"])
    store = RedisStore(f"{redis_server.url}?username=limited&password=hunter2")
    message = await refusal(store)
    assert "check user and password" in message
    assert "hunter2" not in message + store.address


async def test_a_store_of_a_newer_version_is_refused_by_name(redis: Any, redis_server: EmbeddedRedis) -> None:
    store = RedisStore(redis_server.url)
    epoch = await store.open()
    redis.hset(keys.OWNER, mapping={"schema": keys.SCHEMA + 1, "version": "9.8.7"})
    refused = rf"was written by treeroll 9\.8\.7, whose schema is {keys.SCHEMA + 1}, and treeroll .* knows schema"
    newer = RedisStore(redis_server.url)
    for after in (0, epoch):
        with pytest.raises(StoreError, match=refused):
            await newer.open(after)
    assert int(redis.hget(keys.OWNER, "epoch")) == epoch
    await newer.close()
    await store.close()


async def test_a_server_that_is_not_there_is_a_store_error() -> None:
    assert "does not answer" in await refusal(RedisStore("unix:///nowhere/redis.sock"))
    assert "does not answer" in await refusal(RedisStore("redis://127.0.0.1:1/0"))


def test_addresses_show_no_secrets() -> None:
    assert RedisStore("redis://user:pw@host:6379/2?socket_timeout=3").address == "redis://host:6379/2"
    assert RedisStore("unix://user:pw@/run/redis.sock?db=1").address == "unix:///run/redis.sock"


@pytest.mark.parametrize(
    "url",
    ["", "redis", "http://host", "redis://", "unix://", "redis://h:x/0", "redis://h:99999", "redis://h:0", "redis://[::1/0",
     "redis://:pa#ss@h/0", "redis://:pa/ss@h/0", "redis://h/0#1", "//h/0"],
)  # fmt: skip
def test_what_is_no_redis_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="the store URL must be redis://host:port/db"):
        RedisStore(url)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("redis://h/0?foo=1", "redis://h/0 has an unknown option 'foo'; options are client_name, db, "),
        ("redis://h/0?Password=x", "unknown option 'Password'"),
        ("redis://h/0?decode_responses=true", "unknown option 'decode_responses'"),
        ("redis://h/0?protocol=3", "unknown option 'protocol'"),
        ("redis://h/0?ssl_ca_certs=x", "has option 'ssl_ca_certs', which is for rediss://"),
        ("unix:///run/r.sock?foo=1", "unknown option 'foo'"),
        ("redis://h/0?socket_timeout=1&socket_timeout=2", "has option 'socket_timeout' twice"),
        ("redis://h?db=", "has option 'db' without a value"),
        ("redis://h:1/0?socket_timeout=soon", "has a bad option: Invalid value for 'socket_timeout'"),
        ("redis://h/0?socket_keepalive=1&health_check_interval=x", "Invalid value for 'health_check_interval'"),
        ("rediss://h/0?ssl_cert_reqs=perhaps", "has a bad option: "),
        ("rediss://h/0?ssl_min_version=99", "has a bad option: "),
        ("rediss://h/0?ssl_ca_certs=/nowhere/ca.pem", "names certificates that cannot be loaded: No such file"),
    ],
)
def test_options_that_say_nothing_are_refused(url: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match="the store URL .*" + re.escape(sentence)):
        RedisStore(url)


@pytest.mark.parametrize(
    "where", ["redis://h/{}", "redis://h:6379/{}", "rediss://h/{}", "redis://h?db={}", "unix:///s?db={}"]
)
@pytest.mark.parametrize(
    "database", ["foo", "-1", "+1", "1.0", "0x1", "1_0", "01", " 1", "%201", "1e3", "٣", "0/1", "1/"]
)
def test_a_database_must_be_a_number(where: str, database: str) -> None:
    with pytest.raises(InvalidInput, match=r"the store URL .* has database '.*must be a number"):
        RedisStore(where.format(database if "+" not in database else quote(database)))


def test_a_database_is_named_once() -> None:
    with pytest.raises(InvalidInput, match="names a database in its path and as option 'db'"):
        RedisStore("redis://h/1?db=2")


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://h/", "redis://h/0", "redis://h/15", "redis://[::1]:6379/3", "unix:///s"]
)
def test_urls_that_say_what_they_mean_are_taken(url: str) -> None:
    assert RedisStore(url).address == url


async def test_a_database_must_be_one_that_the_server_has(redis: Any, redis_server: EmbeddedRedis) -> None:
    beyond = int(redis.config_get("databases")["databases"])
    message = await refusal(RedisStore(f"{redis_server.url}?db={beyond}"))
    assert "has no such database (DB index is out of range): name one that it has, from 0 on" in message
    store = RedisStore(f"{redis_server.url}?db={beyond - 1}")
    assert await store.open() > 0
    await store.close()


def test_unknown_durabilities_are_refused() -> None:
    with pytest.raises(InvalidInput, match="everysec or always"):
        RedisStore("redis://host", durability="never")


async def test_stores_are_made_from_urls(redis_server: EmbeddedRedis) -> None:
    assert isinstance(make_store("memory"), MemoryStore)
    store = make_store(redis_server.url, "always")
    assert isinstance(store, RedisStore)
    assert store.durability == "always"


async def test_the_url_may_lie_in_a_file_which_is_named_when_it_cannot_be_used(
    redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    file = tmp_path / "url"
    file.write_text(redis_server.url + "\n")
    store = make_store(f"file:{file}")
    assert store.address == RedisStore(redis_server.url).address
    for content, complaint in ((b"", "URL"), (b"memory", "URL"), (b"\xff", f"file {file}, which cannot be read")):
        file.write_bytes(content)
        with pytest.raises(InvalidInput, match=complaint):
            make_store(f"file:{file}")
    with pytest.raises(InvalidInput, match=r"no-file, which cannot be read: No such file"):
        make_store(f"file:{tmp_path}/no-file")


async def test_scripts_a_server_forgot_are_sent_again(redis: Any, redis_server: EmbeddedRedis) -> None:
    store = RedisStore(redis_server.url)
    epoch = await store.open()
    redis.script_flush()
    await store.commit(Commit(runs={"run": b"1"}), epoch)
    redis.script_flush()
    assert await store.lease("run", "g", "c", 1, 1.0) == []
    await store.close()


async def test_a_commit_is_one_command(redis: Any, redis_server: EmbeddedRedis) -> None:
    store = RedisStore(redis_server.url)
    epoch = await store.open()
    commit = Commit(
        runs={"run": b"r"},
        trees=dict.fromkeys("abc", b"h"),
        nodes={name: [(number, b"n" * 500) for number in range(100)] for name in "abc"},
        feed=[("run", "a")],
    )
    await store.commit(commit, epoch)  # the script is there now
    before = redis.info("stats")["total_commands_processed"]
    await store.commit(commit, epoch)
    commands = redis.info("commandstats")
    assert redis.info("stats")["total_commands_processed"] - before <= 25  # those inside the script count too
    assert commands["cmdstat_evalsha"]["calls"] >= 1
    await store.close()


async def test_a_server_without_memory_refuses_the_whole_commit(redis: Any, redis_server: EmbeddedRedis) -> None:
    store = RedisStore(redis_server.url)
    epoch = await store.open()
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreDown, match="out of memory"):
            await store.commit(Commit(runs={"run": b"1"}, nodes={"t": [(0, b"n")]}, feed=[("run", "t")]), epoch)
    finally:
        redis.config_set("maxmemory", 0)
    assert redis.keys("*") == [keys.OWNER]
    await store.commit(Commit(runs={"run": b"2"}), epoch)
    assert await store.load_run("run") == b"2"
    await store.close()


async def test_a_commit_is_not_sent_again_after_a_later_one(redis: Any, redis_server: EmbeddedRedis) -> None:
    store = RedisStore(redis_server.url)
    epoch = await store.open()
    earlier = Commit(runs={"run": b"1"})
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreDown, match="out of memory"):
            await store.commit(earlier, epoch)
    finally:
        redis.config_set("maxmemory", 0)
    await store.commit(Commit(runs={"run": b"2"}), epoch)
    with pytest.raises(StoreError, match="commit 1 cannot be sent again after commit 2"):
        await store.commit(earlier, epoch)
    assert await store.load_run("run") == b"2"
    await store.close()


async def test_a_commit_that_arrives_late_changes_nothing(
    redis: Any, redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RedisStore(redis_server.url)
    epoch = await store.open()
    sent: list[Command] = []

    async def recorded(client: Any, commands: Sequence[Command]) -> list[Any]:
        sent.extend(commands)
        return await ask(client, commands)

    monkeypatch.setattr("treeroll.store.redis_calls.ask", recorded)
    await store.commit(Commit(runs={"run": b"1"}, feed=[("run", "a")]), epoch)
    await store.commit(Commit(runs={"run": b"2"}, feed=[("run", "b")]), epoch)
    first = next(command for command in sent if command[0] == "EVALSHA")
    await ask(store._redis, [first])
    assert await store.load_run("run") == b"2"
    assert await store.feed_entries("run") == ["a", "b"]
    await store.close()


async def test_a_store_that_was_never_opened_reads_and_leases_but_does_not_write(
    redis: Any, redis_server: EmbeddedRedis
) -> None:
    owner, reader = RedisStore(redis_server.url), RedisStore(redis_server.url)
    epoch = await owner.open()
    await owner.commit(Commit(runs={"run": b"1"}, trees={"t": b"h"}, feed=[("run", "t")]), epoch)
    assert await reader.load_run("run") == b"1"
    assert [lease.tree_id for lease in await reader.lease("run", "g", "c", 1, 60.0)] == ["t"]
    with pytest.raises(StoreError, match="opened before"):
        await reader.commit(Commit(runs={"run": b"2"}), epoch)
    await owner.commit(Commit(runs={"run": b"3"}), epoch)
    await asyncio.gather(owner.close(), reader.close())


async def test_leases_end_by_the_tick_of_the_owner_and_others_go_by_its_last_commit(
    redis: Any, redis_server: EmbeddedRedis
) -> None:
    owner, reader = RedisStore(redis_server.url), RedisStore(redis_server.url)
    epoch = await owner.open()
    await owner.commit(Commit(feed=[("run", "a")]), epoch)
    await owner.lease("run", "g", "c", 1, 0.05)

    async def is_over() -> bool:
        return await owner.group_state("run", "g") == GroupState(0, 0, 1)

    await eventually(is_over)
    assert await reader.group_state("run", "g") == GroupState(0, 1, 0)
    await owner.commit(Commit(), epoch)
    assert await reader.group_state("run", "g") == GroupState(0, 0, 1)
    before = int(redis.hget(keys.OWNER, "tick"))
    await owner.open()
    assert int(redis.hget(keys.OWNER, "tick")) == before  # it goes on from where it stood
    await asyncio.gather(owner.close(), reader.close())


async def test_how_much_of_its_memory_is_used_is_what_redis_itself_goes_by(
    redis: Any, redis_server: EmbeddedRedis
) -> None:
    store = RedisStore(redis_server.url)
    epoch = await store.open()
    assert await store.used() is None
    for number in range(400):  # in one piece, the buffer that it came in would count too until Redis gives it back
        redis.set(f"ballast{number}", "x" * 100_000)
    try:
        redis.config_set("maxmemory", 50_000_000)
        assert 0.8 < (await store.used() or 0.0) < 1.0
        await store.commit(Commit(trees={"t": b"header"}), epoch)
        redis.config_set("maxmemory", 40_000_000)
        assert (await store.used() or 0.0) > 1.0
        with pytest.raises(StoreDown, match="is out of memory") as caught:
            await store.commit(Commit(trees={"t": b"header"}), epoch)
        assert caught.value.full
    finally:
        redis.config_set("maxmemory", 0)
        await store.close()


async def test_time_in_which_no_commit_is_answered_is_no_time_for_leases(
    redis: Any, redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can renew then: an outage, or an owner that stood still, would cost every consumer its leases."""
    owner, now = RedisStore(redis_server.url), [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    epoch = await owner.open()
    await owner.commit(Commit(feed=[("run", "a")]), epoch)
    [lease] = await owner.lease("run", "g", "c", 1, 60.0)
    now[0] += 3600.0
    assert await owner.lease("run", "g", "other", 1, 60.0) == []
    await owner.commit(Commit(), epoch)
    now[0] += 1.0
    assert await owner.renew("run", "g", [lease.lease_id], 60.0) == []
    for _ in range(59):
        now[0] += 1.0
        await owner.commit(Commit(), epoch)
    assert await owner.lease("run", "g", "other", 1, 60.0) == []
    now[0] += 1.5
    assert [lease.tree_id for lease in await owner.lease("run", "g", "other", 1, 60.0)] == ["a"]
    await owner.close()


async def test_a_store_of_before_there_were_ticks_goes_on_with_the_leases_that_it_has(
    redis: Any, redis_server: EmbeddedRedis
) -> None:
    seconds, _ = redis.time()
    redis.zadd(
        keys.leases("run", "g"), {f"{1:016d}": (seconds - 1) * 1_000_000, f"{2:016d}": (seconds + 600) * 1_000_000}
    )
    for tree in ("a", "b"):
        redis.hincrby(keys.FEEDS, "run", 1)
        redis.xadd(keys.feed("run"), {"tree": tree}, id=f"{redis.hget(keys.FEEDS, 'run')}-0")
    redis.xgroup_create(keys.feed("run"), "g", "0")
    redis.xreadgroup("g", "c", {keys.feed("run"): ">"})
    store = RedisStore(redis_server.url)
    await store.open()
    assert await store.group_state("run", "g") == GroupState(0, 1, 1)
    assert [lease.tree_id for lease in await store.lease("run", "g", "d", 9, 60.0)] == ["a"]
    await store.close()


async def test_a_feed_may_be_read_by_a_redis_consumer_group(redis: Any, redis_server: EmbeddedRedis) -> None:
    store = RedisStore(redis_server.url)
    epoch = await store.open()
    commit = Commit(trees={"a": b"A", "b": b"B"}, nodes={"a": [(0, b"root")]}, feed=[("run", "b"), ("run", "a")])
    await store.commit(commit, epoch)
    stream = keys.feed("run")
    redis.xgroup_create(stream, "outsider", "0")
    ((_, entries),) = redis.xreadgroup("outsider", "me", {stream: ">"}, count=10)
    assert entries == [("1-0", {"tree": "b"}), ("2-0", {"tree": "a"})]
    assert redis.lrange(keys.nodes("a"), 0, -1) == ["root"]
    redis.xack(stream, "outsider", "1-0")
    assert await store.group_state("run", "outsider") == GroupState(1, 1, 0)
    assert await store.group_names("run") == ["outsider"]
    await store.close()


async def test_entries_trimmed_from_a_feed_are_not_lent_again(redis: Any, redis_server: EmbeddedRedis) -> None:
    store = RedisStore(redis_server.url)
    epoch = await store.open()
    await store.commit(Commit(feed=[("run", "a"), ("run", "b")]), epoch)
    await store.lease("run", "g", "c", 2, 0.0)
    redis.xtrim(keys.feed("run"), minid="2-0", approximate=False)
    assert [lease.seq for lease in await store.lease("run", "g", "c", 2, 60.0)] == [2]
    assert await store.group_state("run", "g") == GroupState(1, 1, 0)
    await store.close()


async def test_a_consumer_that_has_given_all_back_is_forgotten(redis: Any, redis_server: EmbeddedRedis) -> None:
    store = RedisStore(redis_server.url)
    epoch = await store.open()
    await store.commit(Commit(feed=[("run", name) for name in "abc"]), epoch)
    for number in range(5):
        leases = await store.lease("run", "g", f"c{number}", 3, 60.0)
        assert [lease.times_delivered for lease in leases] == [number + 1] * 3
        await store.release_all("run", "g", f"c{number}")
    # Who held what is given back has no name, and is one for all.
    assert [consumer["name"] for consumer in redis.xinfo_consumers(keys.feed("run"), "g")] == [""]
    assert await store.ack("run", "g", [lease.lease_id for lease in leases]) == [lease.lease_id for lease in leases]
    await store.close()


async def test_a_foreign_key_in_the_way_is_a_store_error(redis: Any, redis_server: EmbeddedRedis) -> None:
    store = RedisStore(redis_server.url)
    epoch = await store.open()
    redis.set(keys.nodes("t"), "not a list")
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await store.commit(Commit(runs={"run": b"1"}, nodes={"t": [(0, b"")]}), epoch)
    assert await store.load_run("run") is None
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await store.load_trees(["t"])
    await store.close()


async def test_an_old_owner_is_told_who_came_after(redis: Any, redis_server: EmbeddedRedis) -> None:
    old, new = RedisStore(redis_server.url), RedisStore(redis_server.url)
    await old.open()
    await new.open()
    who = f"process {os.getpid()} on {socket.gethostname()}"
    with pytest.raises(StaleEpoch, match=f"belongs to epoch 2, of {who}, now: epoch 1 may write no more"):
        await old.commit(Commit(), 1)
    await asyncio.gather(old.close(), new.close())


def test_only_its_user_may_enter_the_server_directory(redis_server: EmbeddedRedis) -> None:
    assert stat.S_IMODE(redis_server.log.parent.stat().st_mode) == 0o700


async def test_nothing_is_left_of_a_run_that_was_deleted(redis: Any, redis_server: EmbeddedRedis) -> None:
    store = RedisStore(redis_server.url)
    epoch = await store.open()
    trees = ["a", "b"]
    await store.commit(
        Commit(
            runs={"run": b"run"},
            trees=dict.fromkeys(trees, b"header"),
            nodes={tree_id: [(0, b"root")] for tree_id in trees},
            rewards={tree_id: {"0:math:1": b"reward"} for tree_id in trees},
            tasks={"run": {f"0:{tree_id}": (tree_id, "digest") for tree_id in trees}},
            ticks={"run": b"decided"},
            ticks_kept=1 << 20,
            history={"run": {"a": "1 2 0"}},
            feed=[("run", tree_id) for tree_id in trees],
        ),
        epoch,
    )
    for group in ("g", "h"):  # g takes its first tree twice
        leases = await store.lease("run", group, "x", 1, 60.0)
        await store.release("run", group, [lease.lease_id for lease in leases])
        leases = await store.lease("run", group, "y", 1, 60.0)
        await store.ack("run", group, [lease.lease_id for lease in leases])
    await store.expire("run", 1, epoch)
    assert len(redis.keys("*")) > 10
    await store.delete_run("run", epoch)
    await store.close()
    assert [key.rpartition(":")[2] for key in redis.keys("*")] == ["owner"]


class Meddler(RedisStore):
    """Something is done to the tree while it is read, each time between two pages."""

    def __init__(self, url: str, acts: list[Callable[[], object]]) -> None:
        super().__init__(url)
        self._acts = acts

    async def _call(self, *command: Arg) -> Any:
        if command[0] == "LRANGE" and self._acts:
            self._acts.pop(0)()
        return await super()._call(*command)


async def test_a_tree_that_grows_while_it_is_read_is_of_the_moment_of_its_first_node(
    redis: Any, redis_server: EmbeddedRedis
) -> None:
    def grow() -> None:
        redis.rpush(keys.nodes("t"), f"late {redis.llen(keys.nodes('t'))}")
        redis.hset(keys.tree("t"), keys.HEADER, f"header of {redis.llen(keys.nodes('t'))}")
        redis.hset(keys.rewards("t"), f"{redis.llen(keys.nodes('t')) - 1}:s:1", "reward")

    redis.rpush(keys.nodes("t"), *range(600))
    redis.hset(keys.tree("t"), keys.HEADER, "header of 600")
    store = Meddler(redis_server.url, [grow] * 3)
    tree = await store.load_tree("t")
    assert tree is not None
    assert (tree.header, len(tree.nodes), tree.rewards) == (b"header of 600", 600, {})
    tree = await store.load_tree("t")
    assert tree is not None
    assert (tree.header, len(tree.nodes)) == (f"header of {redis.llen(keys.nodes('t'))}".encode(), 603)
    assert tree.rewards == {f"{number}:s:1": b"reward" for number in (600, 601, 602)}
    await store.close()


@pytest.mark.parametrize("calm", [0, 1, 2])
async def test_pages_of_a_tree_that_goes_meanwhile_end_with_an_error(
    redis: Any, redis_server: EmbeddedRedis, calm: int
) -> None:
    redis.rpush(keys.nodes("t"), *range(600))
    redis.hset(keys.tree("t"), keys.HEADER, "header")
    go = partial(redis.delete, keys.nodes("t"), keys.tree("t"))
    store = Meddler(redis_server.url, [*[lambda: None] * calm, go])
    with pytest.raises(TreeChanged, match="tree 't' was deleted or began anew while it was read"):
        _ = [page async for page in store.tree_pages("t")]
    await store.close()


async def test_pages_are_bounded_in_bytes_as_soon_as_it_is_known_how_large_nodes_are(
    redis: Any, redis_server: EmbeddedRedis
) -> None:
    redis.rpush(keys.nodes("t"), *(b"x" * 20_000 for _ in range(200)))
    redis.hset(keys.tree("t"), keys.HEADER, "header")
    store = RedisStore(redis_server.url)
    sizes = [sum(map(len, page.nodes)) async for page in store.tree_pages("t")]
    assert sum(sizes) == 200 * 20_000
    assert max(sizes[1:]) <= PAGE_BYTES
    await store.close()


async def test_a_tree_that_others_take_the_place_of_while_it_is_read_is_never_mixed(
    redis: Any, redis_server: EmbeddedRedis
) -> None:
    def fill(kind: str) -> None:
        redis.delete(keys.nodes("t"))
        redis.rpush(keys.nodes("t"), *(f"{kind} {number}" for number in range(600)))

    fill("old")
    redis.hset(keys.tree("t"), keys.HEADER, "header")
    store = Meddler(redis_server.url, [lambda: None, lambda: fill("new")])
    tree = await store.load_tree("t")
    assert tree is not None
    assert tree.nodes == [f"new {number}".encode() for number in range(600)]
    redis.delete(keys.tree("t"))
    assert await store.load_tree("t") is None
    await store.close()
