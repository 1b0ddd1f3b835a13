"""TLS: who is believed, and certificates that are exchanged while calls are under way."""

import asyncio
import re
import ssl
from pathlib import Path

import grpc
import pytest
from tests.support.access import Credentials
from tests.support.eventually import eventually

from treeroll.access.certificates import make_certificates
from treeroll.access.config import AccessConfig
from treeroll.access.tls import Certificate
from treeroll.channels import Gate, Pass, listen, make_server
from treeroll.client import connect_async
from treeroll.config import CoordinatorConfig
from treeroll.errors import InvalidInput, Unavailable
from treeroll.pb.v1 import rollout_pb2
from treeroll.testing.service import local_service

SWAPS, CALLS = 10, 20


def shown(address: str) -> str:
    """The certificate that a server shows to a new connection."""
    host, _, port = address.rpartition(":")
    return ssl.get_server_certificate((host, int(port)))


async def test_clients_and_replicas_meet_over_tls_on_all_addresses(credentials: Credentials) -> None:
    token = credentials.token("client", "a")
    credentials.certificate("rollouts.example.org")
    everywhere = CoordinatorConfig(host="0.0.0.0", port=0, heartbeat_s=0.2, lease_s=2.0)  # noqa: S104
    async with local_service(access=credentials.config(tls=True), coordinator=everywhere) as service:
        service.address = service.address.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        service.start_replica("r0")
        await service.joined()
        async with await connect_async(service.address, token=token, tls=credentials.ca) as client:
            run = await client.create_run("run", recipe="flat", leaves=2, segment_tokens=8, max_depth=1)
            await run.submit([{"prompt": "2+2="}])
            await run.close()
            async with run.batches(trees=1) as batches:
                assert [len(batch.trees) async for batch in batches] == [1]


async def test_the_certificate_is_exchanged_ten_times_under_calls_and_none_fails(credentials: Credentials) -> None:
    token = credentials.token("client", "a")
    async with local_service(access=credentials.config(tls=True)) as service:
        old = await connect_async(service.address, token=token, tls=credentials.ca)
        seen = {await asyncio.to_thread(shown, service.address)}
        async with old:
            for _ in range(SWAPS):
                credentials.certificate()
                seen.add(await asyncio.to_thread(shown, service.address))
                async with await connect_async(service.address, token=token, tls=credentials.ca) as new:
                    await asyncio.gather(*(one.status() for one in (old, new) for _ in range(CALLS)))
        assert len(seen) == SWAPS + 1


@pytest.mark.parametrize("broken", ["nothing", "no certificate", "another key", "expired", "gone"])
async def test_while_a_new_certificate_cannot_be_used_the_old_one_is_shown(
    broken: str, credentials: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    token = credentials.token("client", "a")
    async with local_service(access=credentials.config(tls=True)) as service:
        before = await asyncio.to_thread(shown, service.address)
        certificate, key = credentials.certs / "server.pem", credentials.certs / "server.key"
        if broken == "expired":
            make_certificates(credentials.certs, (), days=0)
        elif broken == "another key":
            key.write_bytes((credentials.certs / "ca.key").read_bytes())
        elif broken == "gone":
            certificate.unlink()
        else:
            certificate.write_text("" if broken == "nothing" else "certainly")
        assert await asyncio.to_thread(shown, service.address) == before
        async with await connect_async(service.address, token=token, tls=credentials.ca) as client:
            await client.status()
        assert "the server goes on with the certificate that it had" in caplog.text
        credentials.certificate()
        assert await asyncio.to_thread(shown, service.address) != before


def unreadable(certs: Path) -> None:
    (certs / "server.pem").unlink()


def no_certificate(certs: Path) -> None:
    (certs / "server.pem").write_text("certainly")


def expired(certs: Path) -> None:
    make_certificates(certs, (), days=0)


def of_another_key(certs: Path) -> None:
    (certs / "server.key").write_bytes((certs / "ca.key").read_bytes())


def without_a_name(certs: Path) -> None:
    for kind in ("pem", "key"):
        (certs / f"server.{kind}").write_bytes((certs / f"ca.{kind}").read_bytes())


def without_roots(certs: Path) -> None:
    (certs / "ca.pem").write_text("certainly")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (unreadable, "server.pem cannot be read: No such file"),
        (no_certificate, "server.pem does not begin with a certificate in PEM"),
        (expired, "server.pem expired at 20"),
        (of_another_key, "server.key is not the private key"),
        (without_a_name, "server.pem has no subject alternative name"),
        (without_roots, "ca.pem holds no certificate in PEM"),
    ],
)
async def test_what_is_no_certificate_does_not_start(spoil: object, sentence: str, credentials: Credentials) -> None:
    credentials.token("client", "a")
    access = credentials.config(tls=True)
    spoil(credentials.certs)  # type: ignore[operator]
    with pytest.raises(InvalidInput, match=sentence):
        async with local_service(access=access):
            pass


async def is_not_reached(address: str, tls: str | bool, sentence: str) -> None:
    """Return when somebody who connects is told that. Where this process stood still meanwhile nobody answered."""

    async def is_told() -> bool:
        with pytest.raises(Unavailable) as error:
            await connect_async(address, tls=tls, timeout_s=0.5)
        return re.search(sentence, str(error.value)) is not None

    await eventually(is_told)


async def test_a_certificate_by_another_root_is_not_believed(credentials: Credentials) -> None:
    access = credentials.config(tls=True, tokens=False)
    make_certificates(credentials.directory / "theirs", ())
    async with local_service(access=access) as service:
        for tls in (str(credentials.directory / "theirs" / "ca.pem"), True):
            await is_not_reached(service.address, tls, r"the certificate of .* is not known by tls= or TREEROLL_CA")


async def test_neither_side_speaks_without_tls_to_one_that_has_it(credentials: Credentials) -> None:
    async with local_service(access=credentials.config(tls=True, tokens=False)) as service:
        await is_not_reached(service.address, False, "if it serves with TLS, give tls= or set TREEROLL_CA")
    async with local_service() as service:
        await is_not_reached(service.address, credentials.ca, "or there is no TLS at all")


async def test_a_certificate_for_another_name_is_not_believed(credentials: Credentials) -> None:
    async with local_service(access=credentials.config(tls=True, tokens=False)) as service:
        channel = Pass(tls=True, roots=credentials.ca, server_name="elsewhere.example.org").open(service.address)
        async with channel:
            ask = channel.unary_unary("/treeroll.v1.Rollouts/GetService")
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await ask(rollout_pb2.GetServiceRequest().SerializeToString())
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_that_has_expired_is_not_believed(credentials: Credentials) -> None:
    make_certificates(credentials.certs, (), days=0)
    pair = (credentials.certs / "server.key").read_bytes(), (credentials.certs / "server.pem").read_bytes()
    server = make_server(Gate())
    port = listen(server, "127.0.0.1", 0, grpc.ssl_server_credentials([pair]))
    await server.start()
    try:
        await is_not_reached(f"127.0.0.1:{port}", credentials.ca, "expired")
    finally:
        await server.stop(None)


async def test_the_roots_of_the_environment_are_believed(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with local_service(access=credentials.config(tls=True, tokens=False)) as service:
        monkeypatch.setenv("TREEROLL_CA", str(credentials.certs / "ca.pem"))
        async with await connect_async(service.address) as client:
            await client.status()
        monkeypatch.setenv("TREEROLL_CA", str(credentials.certs / "none.pem"))
        with pytest.raises(InvalidInput, match=r"none\.pem cannot be read"):
            await connect_async(service.address)


async def test_a_replica_reads_the_roots_again_when_it_connects_again(credentials: Credentials) -> None:
    """A service that starts again by another root gets its replicas back."""
    known = credentials.config(tls=True, tokens=False)
    async with local_service(access=known) as service:
        port = int(service.address.rpartition(":")[2])
        replica = service.start_replica("r0")
        await service.joined()
        service.tasks.remove(replica)  # it outlives this service
    for name in ("ca.pem", "ca.key"):
        (credentials.certs / name).unlink()
    credentials.certificate()
    again = CoordinatorConfig(port=port, heartbeat_s=0.2, lease_s=2.0)
    async with local_service(access=known, coordinator=again) as service:
        service.tasks.append(replica)
        await service.joined()


def test_names_that_are_none_make_no_certificate(tmp_path: Path) -> None:
    for name in ("", "http://host", "a b", "host:70"):
        with pytest.raises(InvalidInput, match="no host name or address"):
            make_certificates(tmp_path, [name])
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_without_a_key_is_no_configuration(tmp_path: Path) -> None:
    for given in ({"certificate": tmp_path}, {"key": tmp_path}, {"ca": tmp_path}):
        with pytest.raises(ValueError, match="set"):
            AccessConfig(**given)


def test_the_private_keys_are_for_their_owner_alone(credentials: Credentials) -> None:
    credentials.certificate()
    modes = {file.name: file.stat().st_mode & 0o777 for file in credentials.certs.iterdir()}
    assert modes == {"ca.pem": 0o644, "ca.key": 0o600, "server.pem": 0o644, "server.key": 0o600}


def test_replicas_know_the_server_by_a_name_that_it_has(credentials: Credentials) -> None:
    credentials.certificate("*.example.org")
    files = credentials.certs / "server.pem", credentials.certs / "server.key"
    assert Certificate(*files).server_name() == "treeroll.example.org"
