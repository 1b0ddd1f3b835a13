"""A service over `rediss://`: its Redis is known by its certificate, or not spoken to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.tls_redis import tls_in_front_of

from treeroll.access.certificates import make_certificates
from treeroll.client import connect_async
from treeroll.errors import StoreError
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore
from treeroll.testing.service import local_service

# Of loopback, and in no certificate that is not made for it.
HOST = "127.0.0.2"


@asynccontextmanager
async def redis_of(name: str, directory: Path) -> AsyncIterator[str]:
    """HOST:PORT of a Redis whose certificate is for this name, and for those of loopback that all have."""
    make_certificates(directory / "certs", [name])
    with EmbeddedRedis(directory / "redis") as server:
        async with tls_in_front_of(server, directory / "certs", HOST) as port:
            yield f"{HOST}:{port}"


async def test_a_service_lives_a_whole_life_over_tls(tmp_path: Path) -> None:
    async with redis_of(HOST, tmp_path) as address:
        store = RedisStore(f"rediss://{address}/0?ssl_ca_certs={tmp_path / 'certs' / 'ca.pem'}")
        async with local_service(store) as service:
            service.start_replica("r0")
            await service.joined()
            async with await connect_async(service.address) as client:
                run = await client.create_run("run", scorer="arith", recipe="treepo", leaves=4)
                await run.submit([{"prompt": "1+1=", "answer": "2"}, {"prompt": "2+2=", "answer": "4"}])
                await run.close()
                async with run.batches(trees=1) as batches:
                    assert sum([len(batch.trees) async for batch in batches]) == 2
                assert not (await client.audit()).violations


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("root", "CERTIFICATE_VERIFY_FAILED"),
        ("name", "CERTIFICATE_VERIFY_FAILED.*IP address mismatch"),
        ("no TLS", "Connection closed by server"),
    ],
)
async def test_a_redis_that_is_another_is_not_spoken_to(wrong: str, why: str, tmp_path: Path) -> None:
    make_certificates(tmp_path / "others", [])
    root = tmp_path / ("others" if wrong == "root" else "certs") / "ca.pem"
    async with redis_of("redis.example" if wrong == "name" else HOST, tmp_path) as address:
        url = f"redis://{address}/0" if wrong == "no TLS" else f"rediss://{address}/0?ssl_ca_certs={root}"
        store = RedisStore(url)
        with pytest.raises(StoreError, match=rf"does not answer \(.*{why}.*\): check that it runs"):
            await store.open()
        await store.close()
