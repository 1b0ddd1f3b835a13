"""Replies are read whole, whatever the pieces they come in and however connections end, on both event loops."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hiredis
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from treeroll.errors import StoreError
from treeroll.store.redis import RedisStore

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
Scenario = Callable[[], Awaitable[None]]

RECORD = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Runs a coroutine function to its end on an event loop of this kind."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(scenario: Scenario) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(scenario())

    return run


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file with the key and the self-signed certificate of "localhost"."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + signed.public_bytes(pem))
    return path


@asynccontextmanager
async def store_of(*answers: Answer, certificate: Path | None = None) -> AsyncIterator[RedisStore]:
    """A store on a server that answers the first HGET by the first of `answers`, and so on."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader()
        while data := await reader.read(1 << 16):
            commands.feed(data)
            while (command := commands.gets()) is not False:
                if command[0] == b"HGET":
                    await left.pop(0)(writer)
                else:
                    writer.write(b"+OK\r\n")
        writer.close()

    tls, url = None, "redis://localhost:{port}/0"
    if certificate:
        tls, url = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), f"rediss://localhost:{{port}}/0?ssl_ca_certs={certificate}"
        tls.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    store = RedisStore(url.format(port=server.sockets[0].getsockname()[1]), timeout_s=60.0)
    async with server:
        yield store
        await store.close()


async def whole(writer: asyncio.StreamWriter) -> None:
    writer.write(b"$%d\r\n%s\r\n" % (len(RECORD), RECORD))


async def in_pieces(writer: asyncio.StreamWriter) -> None:
    for piece in (b"$10485", b"76\r", b"\n", RECORD[:1], RECORD[1:-1], RECORD[-1:], b"\r", b"\n"):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)  # lets the client take it


async def cut_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"$1048576\r\nhalf")
    writer.close()


async def silence(writer: asyncio.StreamWriter) -> None:
    writer.write(b"$1048576\r\nhalf")


def test_a_reply_that_comes_in_pieces_is_one_reply(run: Any) -> None:
    async def scenario() -> None:
        async with store_of(in_pieces, whole) as store:
            assert await store.load_run("run") == RECORD
            assert await store.load_run("run") == RECORD

    run(scenario)


def test_a_reply_through_tls_is_whole(run: Any, certificate: Path) -> None:
    async def scenario() -> None:
        async with store_of(whole, in_pieces, certificate=certificate) as store:
            assert await store.load_run("run") == RECORD
            assert await store.load_run("run") == RECORD

    run(scenario)


def test_a_call_is_repeated_when_its_connection_ends_half_way(run: Any) -> None:
    async def scenario() -> None:
        async with store_of(whole, cut_off, whole) as store:
            await store.load_run("run")
            assert await store.load_run("run") == RECORD

    run(scenario)


def test_a_late_answer_is_not_taken_for_that_of_the_next_call(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    limits, timeout = iter([0.05]), asyncio.timeout  # of the first answer: the next one may take its time
    monkeypatch.setattr(asyncio, "timeout", lambda limit_s: timeout(next(limits, limit_s)))

    async def scenario() -> None:
        async with store_of(silence, whole) as store:
            with pytest.raises(StoreError, match=r"does not answer \(no answer within 60 s\)"):
                await store.load_run("run")
            assert await store.load_run("run") == RECORD

    run(scenario)
