"""A service does all that it does as the least user of Redis, by the file that is shipped; others get in nowhere."""

import re
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from tests.support.eventually import eventually

from treeroll.client import connect_async
from treeroll.store.embedded import EmbeddedRedis, find_server
from treeroll.store.redis import RedisStore
from treeroll.store.redis_settings import known_hole
from treeroll.testing.service import local_service

FILE = Path(__file__).parents[2] / "deploy" / "redis" / "users.acl"
USERS = [line.split()[1:] for line in FILE.read_text().splitlines() if line.startswith("user ")]
PASSWORD = "of a test"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server with the file's users, whose password is another one, and an administrator's way in."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        admin = Redis.from_url(server.url)
        admin.execute_command("ACL SETUSER", "root", "on", ">root", "~*", "+@all")
        admin.close()
        admin = Redis.from_url(server.url, username="root", password="root")
        for name, *rules in USERS:
            admin.execute_command("ACL SETUSER", name, "reset", *[_mine(rule) for rule in rules])
        yield server
        admin.execute_command("ACL SETUSER", "default", "reset", "on", "nopass", "~*", "+@all")
        admin.close()


def _mine(rule: str) -> str:
    return f">{PASSWORD}" if rule.startswith("#") else rule


def login(server: EmbeddedRedis, user: str) -> Redis:
    return Redis.from_url(server.url, username=user, password=PASSWORD)


def url_of(server: EmbeddedRedis, user: str) -> str:
    return re.sub(r"^unix://", f"unix://{user}:{PASSWORD.replace(' ', '%20')}@", server.url)


async def test_the_service_lives_a_whole_life_as_its_user(server: EmbeddedRedis) -> None:
    store = RedisStore(url_of(server, "treeroll"))
    async with local_service(store, keep_acknowledged_s=0.1) as service:
        service.start_replica("r0")
        await service.joined()
        async with await connect_async(service.address) as client:
            assert len(await store.secret()) == 32
            run = await client.create_run("run", scorer="arith", recipe="treepo", leaves=4)
            await run.submit([{"prompt": "1+1=", "answer": "2"}, {"prompt": "2+2=", "answer": "4"}])
            await run.close()
            async with run.batches(trees=1, group="released") as batches:
                batch = await anext(batches)
                assert (await client.get_tree(batch.trees[0].tree_id)).nodes
            async with run.batches(trees=1) as batches:
                async for batch in batches:
                    await batch.report_rewards([1.0] * len(batch.samples), scorer="mine")
                    await batch.ack()
            async with run.batches(trees=1, group="released") as batches:
                async for batch in batches:
                    await batch.ack()
            audit = await client.audit()
            assert not audit.violations
            await client.drain()
            await client.undrain()

            async def expired() -> bool:
                return (await client.status()).expired_trees == 2

            await eventually(expired)
            await client.delete_run("run")


def test_the_services_user_is_at_home_with_its_keys_and_nowhere_else(server: EmbeddedRedis) -> None:
    with login(server, "treeroll") as redis:
        redis.hset("treeroll:1:{s00}:runs", "run", "record")
        for command in (
            ("HSET", "other", "a", "b"),
            ("EVAL", "return redis.call('HGET', KEYS[1], 'a')", 1, "other"),
            ("EVAL", "return redis.call('FLUSHALL')", 0),
            ("CONFIG", "SET", "dir", "elsewhere"),
            ("ACL", "LIST"),
            ("FLUSHALL",),
            ("KEYS", "*"),
            ("DEBUG", "SLEEP", "0"),
            ("SCRIPT", "FLUSH"),
            ("SHUTDOWN",),
            ("MODULE", "LIST"),
            ("SAVE",),
        ):
            with pytest.raises((NoPermissionError, ResponseError), match=r"permission|can't run this command|NOPERM"):
                redis.execute_command(*command)


def test_a_viewer_reads_and_changes_nothing(server: EmbeddedRedis) -> None:
    with login(server, "treeroll") as redis:
        redis.hset("treeroll:1:{s00}:runs", "run", "record")
    with login(server, "viewer") as redis:
        assert redis.hgetall("treeroll:1:{s00}:runs") == {b"run": b"record"}
        for command in (
            ("HSET", "treeroll:1:{s00}:runs", "run", "mine"),
            ("DEL", "treeroll:1:{s00}:runs"),
            ("EVAL", "return 1", 0),
            ("HGET", "other", "a"),
        ):
            with pytest.raises(NoPermissionError):
                redis.execute_command(*command)


def test_without_a_name_nobody_gets_in(server: EmbeddedRedis) -> None:
    with Redis.from_url(server.url) as redis, pytest.raises(AuthenticationError):
        redis.ping()


def test_a_redis_starts_with_the_shipped_file(tmp_path: Path) -> None:
    command = [find_server(), "--port", "0", "--unixsocket", str(tmp_path / "redis.sock"), "--dir", str(tmp_path)]
    with subprocess.Popen([*command, "--aclfile", str(FILE)], stdout=subprocess.PIPE, text=True) as server:
        said: list[str] = []
        for line in server.stdout or ():
            said.append(line)
            if "accept connections" in line:
                break
        server.terminate()
    assert "accept connections" in said[-1], "".join(said)


def test_the_shipped_file_lets_nobody_in_as_it_is() -> None:
    rules = {name: given for name, *given in USERS}
    assert rules["default"][0] == "off"
    known = {
        sha256(word.encode()).hexdigest() for word in ("", "treeroll", "password", "secret", "viewer", *"0123456789")
    }
    for name in ("treeroll", "viewer"):
        (digest,) = [rule[1:] for rule in rules[name] if rule.startswith("#")]
        assert digest not in known
        assert not {"nopass", "allkeys", "+@all", "allcommands"} & set(rules[name])


@pytest.mark.parametrize(
    ("version", "open_to_it"),
    [
        ("6.2.14", True),
        ("6.2.20", False),
        ("7.0.15", True),
        ("7.2.10", True),
        ("7.2.11", False),
        ("7.4.6", False),
        ("8.0.3", True),
        ("8.0.4", False),
        ("8.2.1", True),
        ("8.2.2", False),
        ("8.4.0", False),
    ],
)
def test_versions_with_a_known_hole_are_known(version: str, open_to_it: bool) -> None:
    assert known_hole(version) is open_to_it
