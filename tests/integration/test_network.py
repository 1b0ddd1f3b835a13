"""Where the service listens and what its connections pass through: IPv6, ports that are not to be had, proxies."""

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import treeroll
from treeroll.channels import listen, make_server
from treeroll.client import connect_async
from treeroll.config import CoordinatorConfig
from treeroll.errors import Unavailable
from treeroll.testing.service import local_service

RUN = {"recipe": "flat", "leaves": 2, "segment_tokens": 32, "max_depth": 2}
PROXIES = [name for word in ("http", "https", "grpc", "all") for name in (f"{word}_proxy", f"{word}_proxy".upper())]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


HOSTS = [
    "127.0.0.1",
    "127.0.0.2",
    "localhost",
    pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")),
    pytest.param("[::1]", marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")),
]


@pytest.mark.parametrize("host", HOSTS)
async def test_service_replicas_and_clients_meet_on_any_loopback_address(host: str) -> None:
    async with local_service(coordinator=CoordinatorConfig(host=host, port=0)) as service:
        service.start_replica("r0")
        assert service.address.startswith("[::1]:" if ":" in host else f"{host}:")
        async with await connect_async(service.address, token="a token may travel on this machine") as client:
            run = await client.create_run("r", **RUN)
            await run.submit([{"prompt": "Compute 1+1.\n"}])
            await run.close()
            assert len([batch async for batch in run.batches()]) == 1


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of 127.0.0.1 on which somebody listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_port_that_is_taken_is_said_to_be(host: str, taken: int) -> None:
    with pytest.raises(Unavailable, match=f"port {taken} on {host} is taken; choose another with --port"):
        listen(make_server(), host, taken)


@pytest.mark.parametrize("port", [0, 7071])
async def test_another_reason_is_the_systems(port: int) -> None:
    # Of a network for documentation: nobody has this address.
    with pytest.raises(Unavailable, match=re.escape(f"cannot listen on [2001:db8::7]:{port}: ") + "(?!.*taken)"):
        listen(make_server(), "2001:db8::7", port)


@pytest.mark.parametrize("through", PROXIES)
async def test_nothing_inside_a_service_takes_a_proxy(through: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(through, "http://127.0.0.1:9")
    async with local_service() as service:
        service.start_replica("r0")
        await service.joined()
        async with await connect_async(service.address) as client:
            assert (await client.status()).replicas


async def test_all_channels_are_made_in_one_place() -> None:
    root = Path(treeroll.__file__).parent
    makers = re.compile(r"\b(insecure_channel|secure_channel|add_insecure_port|add_secure_port)\(")
    found = {str(file.relative_to(root)) for file in root.rglob("*.py") if makers.search(file.read_text("utf-8"))}
    # The bare stream that the feed is measured against, and the collector that traces are, are no part of a service.
    assert found == {"channels.py", "bench/feed_process.py", "bench/collector.py"}


async def test_a_connection_is_refused_at_once_where_nobody_listens() -> None:
    async with asyncio.timeout(300):
        with pytest.raises(Unavailable, match=r"nobody answers at \[::1\]:9"):
            await connect_async("[::1]:9", timeout_s=0.5)
