"""What `treeroll doctor` finds: each check on something sound, and on something broken."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.support.access import Credentials
from tests.support.ports import free_port

from treeroll import __version__
from treeroll.access.certificates import make_certificates
from treeroll.channels import Pass
from treeroll.cli.main import app
from treeroll.config import CoordinatorConfig, StoreConfig
from treeroll.demo import MODEL_DIR
from treeroll.doctor import coordinator, host, store
from treeroll.doctor.finding import Finding, State
from treeroll.doctor.ground import Ground
from treeroll.doctor.table import CHECKS, examine
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.node_checks import SHM_BYTES
from treeroll.service import ServiceConfig
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore
from treeroll.testing.service import local_service
from treeroll.weights.model_digest import model_digest

OK, WRONG, NOT_CHECKED = State.OK, State.WRONG, State.NOT_CHECKED


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


def ground(addresses: str = "", *, named: bool = True, shown: Pass | None = None, **sections: Any) -> Ground:
    return Ground(ServiceConfig(**sections), addresses, named, shown or Pass())


async def found(name: str, on: Ground) -> list[Finding]:
    """Of one check."""
    return [one async for one in examine(on) if one.check == name]


def states(findings: list[Finding]) -> list[State]:
    return [one.state for one in findings]


async def test_the_models_of_all_pools_are_named_with_their_digests(tmp_path: Path) -> None:
    copy = shutil.copytree(MODEL_DIR, tmp_path / "copy")
    on = ground(generator=GeneratorConfig(pools={"one": {"model": MODEL_DIR}, "two": {"model": copy}}))
    one, two = await found("model", on)
    assert (one.state, two.state) == (OK, OK)
    assert two.sentence.startswith(f"pool 'two': {copy} with digest {model_digest(MODEL_DIR)}, tokenizer ")
    assert on.models == dict.fromkeys(map(str, (MODEL_DIR, copy)), model_digest(MODEL_DIR))


async def test_a_model_that_is_none_is_wrong(tmp_path: Path) -> None:
    [one] = await found("model", ground(generator=GeneratorConfig(model=tmp_path)))
    assert (one.state, one.sentence) == (WRONG, f"model path {tmp_path} is no model: it has no config.json")


async def test_little_shared_memory_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    [sound] = await found("this host", ground())
    assert sound.state is OK
    assert "free in /dev/shm" in sound.sentence
    monkeypatch.setattr(host, "bare", lambda: {"shm_free": SHM_BYTES - 1, "disk_free": 1 << 40})
    [broken] = await found("this host", ground())
    assert (broken.state, broken.sentence.partition(",")[0]) == (WRONG, "this host has 127 MiB free in /dev/shm")


async def test_a_sound_store_is_told_with_version_latency_and_owner(server: EmbeddedRedis) -> None:
    on = ground(store=StoreConfig(url=server.url))
    kept, latency, nobody = await found("store", on)
    assert kept.state is OK
    assert kept.sentence.endswith(", evicts nothing and keeps a file (everysec)")
    assert "(median of 20; " in latency.sentence
    assert nobody.sentence == "it has no owner yet"
    owner = RedisStore(server.url)
    await owner.open()
    *_, owned = await found("store", on)
    assert owned.sentence.endswith(f" on {socket.gethostname()}, epoch 1")
    await owner.close()


@pytest.mark.parametrize(
    ("setting", "value", "mend"),
    [
        ("maxmemory-policy", "allkeys-lru", "set `maxmemory-policy noeviction`"),
        ("appendonly", "no", "set `appendonly yes`"),
        ("appendfsync", "no", "set `appendfsync everysec`"),
    ],
)
async def test_a_store_that_would_lose_data_is_wrong_and_says_what_to_set(
    server: EmbeddedRedis, setting: str, value: str, mend: str
) -> None:
    with Redis.from_url(server.url) as redis:
        redis.config_set(setting, value)
        before = redis.dbsize()
        [one] = await found("store", ground(store=StoreConfig(url=server.url)))
        assert one.state is WRONG
        assert one.sentence.endswith(mend)
        assert redis.dbsize() == before == 0


async def test_a_store_that_is_away_or_slow_is_wrong(server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    [away] = await found("store", ground(store=StoreConfig(url=f"redis://127.0.0.1:{free_port()}")))
    assert away.state is WRONG
    assert "does not answer" in away.sentence
    monkeypatch.setattr(store, "SLOW_S", -1.0)
    assert states(await found("store", ground(store=StoreConfig(url=server.url)))) == [OK, WRONG, OK]
    assert states(await found("store", ground())) == [NOT_CHECKED]


async def test_a_coordinator_that_answers_is_told_with_its_version() -> None:
    async with local_service() as service:
        service.start_replica("r0")
        await service.joined()
        on = ground(service.address)
        answers, says = await found("coordinator", on)
        assert answers.sentence == f"somebody answers at {service.address}"
        assert says.sentence == f"treeroll {__version__}, epoch 1, 1 replicas"
        assert [one.sentence for one in await found("token", on)] == ["the service asks for none"]


async def test_nobody_at_a_named_address_is_wrong_and_at_one_of_the_settings_not_checked() -> None:
    address = f"127.0.0.1:{free_port()}"
    [one] = await found("coordinator", ground(address))
    assert one.state is WRONG
    assert one.sentence.startswith(f"nobody answers at {address}; is `treeroll serve` running there?")
    assert states(await found("coordinator", ground(address, named=False))) == [NOT_CHECKED]
    assert states(await found("coordinator", ground(""))) == [NOT_CHECKED]
    assert states(await found("token", ground(address))) == [NOT_CHECKED]


async def test_a_service_of_another_minor_version_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "__version__", "0.9.0")
    async with local_service() as service:
        _, one = await found("coordinator", ground(service.address))
    assert (one.state, one.sentence) == (
        WRONG,
        f"the service is treeroll {__version__}, and this is 0.9.0: install {__version__} here",
    )


@pytest.mark.parametrize(
    ("role", "state", "sentence"),
    [
        ("operator", OK, "it is that of 'me', with role operator"),
        ("viewer", OK, "it is that of 'me', with role viewer"),
        ("replica", OK, "it is taken: GetService is not for a token with role replica, as that of 'me' has"),
        (None, WRONG, "token"),
        ("another", WRONG, "token"),
    ],
)
async def test_a_token_is_told_with_its_role_and_one_that_is_none_is_wrong(
    tmp_path: Path, role: str | None, state: State, sentence: str
) -> None:
    credentials = Credentials(tmp_path)
    known = credentials.token("operator" if role in (None, "another") else str(role), "me")
    token = {None: "", "another": "x" * 43}.get(role, known)
    async with local_service(access=credentials.config(tls=True)) as service:
        shown = Pass(token, tls=True, roots=credentials.ca)
        [one] = await found("token", ground(service.address, shown=shown))
    assert one.state is state
    assert sentence in one.sentence


async def test_a_certificate_is_told_with_names_and_end_and_one_that_ends_soon_is_wrong(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    token = credentials.token("operator", "me")
    access = credentials.config(tls=True)
    async with local_service(access=access) as service:
        shown = Pass(token, tls=True, roots=credentials.ca)
        in_file, at_address = await found("certificate", ground(service.address, shown=shown, access=access))
        assert (in_file.state, at_address.state) == (OK, OK)
        assert in_file.sentence.startswith(f"{access.certificate} is for localhost, 127.0.0.1, ::1, until ")
        assert at_address.sentence.startswith(f"the one shown at {service.address} is for localhost, ")
        make_certificates(credentials.certs, [], days=3)
        found_late = await found("certificate", ground(service.address, shown=shown, access=access))
        assert states(found_late) == [WRONG, WRONG]
        assert "renew it now" in found_late[0].sentence


async def test_a_certificate_by_another_root_is_wrong_where_the_coordinator_is_asked(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    make_certificates(tmp_path / "others", [])
    async with local_service(access=credentials.config(tls=True, tokens=False)) as service:
        other = Pass("", tls=True, roots=str(tmp_path / "others" / "ca.pem"))
        [one] = await found("coordinator", ground(service.address, shown=other))
    assert one.state is WRONG
    assert "the certificate of " in one.sentence


async def test_certificate_files_that_cannot_be_used_are_wrong(tmp_path: Path) -> None:
    access = Credentials(tmp_path).config(tls=True, tokens=False)
    assert access.key is not None
    access.key.write_text("not a key")
    [one] = await found("certificate", ground("", access=access))
    assert one.state is WRONG
    assert "is not the private key" in one.sentence


async def test_a_port_that_somebody_has_is_wrong_unless_it_is_the_service() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = CoordinatorConfig(port=port, health_port=free_port())
        busy, free = await found("ports", ground("", coordinator=config))
        assert (busy.state, free.state) == (WRONG, OK)
        assert busy.sentence.startswith(f"coordinator.port: port {port} on 127.0.0.1 is taken")
    async with local_service() as service:
        config = CoordinatorConfig(port=int(service.address.rpartition(":")[2]))
        assert states(await found("ports", ground(service.address, coordinator=config))) == [OK]


async def test_a_ray_that_nobody_named_is_not_checked_and_one_of_the_environment_must_be_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert states(await found("ray", ground())) == [NOT_CHECKED]
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    [one] = await found("ray", ground())
    assert one.state is WRONG
    assert "set ray.address" in one.sentence


def test_the_command_prints_a_line_a_check_and_exits_with_0_where_nothing_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert app.run(["doctor", "--set", f"coordinator.port={free_port()}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(maxsplit=2)[:2] == ["ok", "settings"]
    assert all(line.startswith(("ok  ", "not checked  ")) for line in lines)
    assert all(any(f"  {name}  " in f"{line}  " for line in lines) for name in CHECKS)


def test_the_command_exits_with_1_where_something_is_wrong_and_says_it_as_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    away = f"redis://127.0.0.1:{free_port()}"
    assert app.run(["doctor", "--json", "--store", away, "--set", f"coordinator.port={free_port()}"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["check"] for one in found if one["state"] == "wrong"] == ["store"]


def test_settings_that_no_service_takes_are_wrong_and_nothing_else_is_looked_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert app.run(["doctor", "--json", "--set", "coordinator.host=0.0.0.0"]) == 1
    settings, rest = json.loads(capsys.readouterr().out)
    assert (settings["state"], settings["check"]) == ("wrong", "settings")
    assert "without TLS and tokens treeroll serves loopback only" in settings["sentence"]
    assert rest["state"] == "not checked"
