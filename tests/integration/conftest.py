"""A service with a simulated replica, once with each store; files that want another one define their own."""

from collections.abc import AsyncIterator

import pytest

from treeroll.client import AsyncClient, connect_async
from treeroll.store.base import Store
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.memory import MemoryStore
from treeroll.store.redis import RedisStore
from treeroll.testing.service import LocalService, local_service


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    server: EmbeddedRedis = request.getfixturevalue("empty_redis")
    store = RedisStore(server.url)
    await store._call("FLUSHALL")
    yield store


@pytest.fixture
async def service(store: Store) -> AsyncIterator[LocalService]:
    async with local_service(store) as service:
        service.start_replica("r0", slots=32)
        yield service


@pytest.fixture
async def client(service: LocalService) -> AsyncIterator[AsyncClient]:
    async with await connect_async(service.address) as client:
        yield client
