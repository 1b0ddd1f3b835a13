"""Audits beside the service: another process finds what this one would, and says what kept it from looking."""

import pytest
from tests.support.ports import free_port

from treeroll.coordinator.audit import audit
from treeroll.coordinator.audit_process import audit_elsewhere
from treeroll.errors import StoreError
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.base import Commit
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.memory import MemoryStore
from treeroll.store.redis import RedisStore

BROKEN = Commit(
    runs={"r": api.Run(run_id="r", state="closed", submitted=1).SerializeToString()},
    tasks={"r": {"0:a": ("t", "digest")}},
    feed=[("r", "u"), ("r", "u")],
)


async def test_another_process_finds_what_this_one_would(empty_redis: EmbeddedRedis) -> None:
    store = RedisStore(empty_redis.url)
    await store.commit(BROKEN, await store.open())
    here, there = await audit(store, 90), await audit_elsewhere(store, 90)
    assert here.violations
    assert there == here
    await store.close()


async def test_a_store_in_memory_is_audited_here() -> None:
    store = MemoryStore()
    await store.commit(BROKEN, await store.open())
    assert (await audit_elsewhere(store, 90)).violations


async def test_a_store_that_is_away_is_a_sentence() -> None:
    store = RedisStore(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(StoreError, match="does not answer"):
        await audit_elsewhere(store, 90)
    await store.close()


async def test_a_process_that_cannot_say_anything_is_told_by_its_last_words() -> None:
    class Strange(MemoryStore):
        url = "http://not-a-store"

    with pytest.raises(StoreError, match=r"ended with code 1: .*the store URL must be redis://"):
        await audit_elsewhere(Strange(), 90)
