"""The store was emptied, or put back to an older state: the service goes on from there, and says what is gone."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.support.eventually import eventually
from tests.support.forgetful_store import ForgetfulStore

from treeroll.client import connect_async
from treeroll.client.async_client import AsyncClient
from treeroll.client.async_run import AsyncRun
from treeroll.coordinator.lost_work import what_is_gone
from treeroll.coordinator.standby import open_silent
from treeroll.core.model.pool_model import PoolModel
from treeroll.core.model.weights import Weights
from treeroll.demo import TASKS_FILE
from treeroll.errors import GroupMoved, InvalidInput, LeaseLost, Stalled, StoreError, UnknownRun
from treeroll.generator.config import SimulatedLatency
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.pb.v1 import store_pb2 as stored
from treeroll.store.base import Commit, Store
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.memory import MemoryStore
from treeroll.store.redis import RedisStore
from treeroll.tasks import Task, read_tasks
from treeroll.testing.service import LocalService, local_service

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 8, "max_depth": 4, "scorer": "arith"}
TASKS = 6


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@dataclass
class Served:
    """A service with one replica, and a client of it."""

    service: LocalService
    client: AsyncClient
    replica: "asyncio.Task[None]"

    async def goes_on(self) -> None:
        """Return when it has taken its store up anew, and its replica is back."""

        async def is_back() -> bool:
            now = self.service.coordinator
            return now.epoch > 1 and "r0" in now.state.replicas

        await eventually(is_back)
        assert not self.replica.done()
        assert not self.service.tasks[0].done()


@asynccontextmanager
async def served(store: Store) -> AsyncIterator[Served]:
    async with local_service(store) as service, await connect_async(service.address) as client:
        replica = service.start_replica("r0", latency=SimulatedLatency(step_s=0.002))
        await service.joined()
        yield Served(service, client, replica)


def tasks(limit: int = TASKS) -> list[Task]:
    return list(read_tasks(TASKS_FILE, limit=limit))


async def grow(client: AsyncClient, run_id: str = "run") -> AsyncRun:
    """All trees of a run."""
    run = await client.create_run(run_id, **RUN)
    await run.submit(tasks())
    await run.close()
    await ended(run)
    return run


async def ended_as_closed(run: AsyncRun) -> None:
    await run.close()
    await ended(run)


async def ended(run: AsyncRun) -> None:
    async def over() -> bool:
        return (await run.status()).ended

    await eventually(over)


async def consumed_from(run: AsyncRun, state: Any) -> int:
    """How many trees come after a saved state."""
    return sum([len(batch.trees) async for batch in run.batches(trees=1, state=state)])


async def consumed(run: AsyncRun) -> set[str]:
    return {tree.tree_id async for batch in run.batches(trees=1) for tree in batch.trees}


async def test_a_store_that_was_emptied_costs_its_runs_and_neither_the_service_nor_an_engine(
    server: EmbeddedRedis,
) -> None:
    async with served(RedisStore(server.url)) as here:
        client = here.client
        run = await grow(client)
        spent = (await run.status()).ledger.spent
        waits = await client.create_run("waits", **RUN)
        waiting = asyncio.create_task(consumed(waits))
        with Redis.from_url(server.url) as redis:
            redis.flushall()
        await here.goes_on()
        gone = "the store was emptied, or put back to an older state, and lost all of run 'waits' (0 tasks"
        with pytest.raises(UnknownRun, match=re.escape(gone)):
            await waiting
        with pytest.raises(UnknownRun, match=f"{TASKS} tasks, {TASKS} trees that had ended, {spent} tokens"):
            await run.status()
        status = await client.status()
        assert (status.store_losses, status.lost_tasks, status.lost_trees) == (1, TASKS, TASKS)
        assert status.lost_tokens == spent
        assert sorted(status.lost_runs) == ["run", "waits"]
        assert status.epoch > 1
        again = await grow(client)
        assert len(await consumed(again)) == TASKS
        assert list((await client.status()).lost_runs) == ["waits"]
        assert not (await client.audit()).violations


async def test_a_store_that_was_put_back_goes_on_with_what_it_has(server: EmbeddedRedis, tmp_path: Path) -> None:
    file = tmp_path / "redis" / "appendonly.aof"
    async with served(RedisStore(server.url)) as here:
        first = await grow(here.client, "first")
        backup = file.read_bytes()
        second = await grow(here.client, "second")
        os.kill(server.pid, signal.SIGKILL)
        server.stop()
        file.write_bytes(backup)
        server.start()
        await here.goes_on()
        assert len(await consumed(first)) == TASKS
        with pytest.raises(UnknownRun, match="lost all of run 'second'"):
            await second.status()
        assert list((await here.client.status()).lost_runs) == ["second"]
        assert len(await consumed(await grow(here.client, "second"))) == TASKS
        assert not (await here.client.audit()).violations


async def test_whoever_takes_up_a_store_that_went_back_is_heard_meanwhile_and_not_taken_for_dead() -> None:
    store, begun, goes_on = ForgetfulStore(), asyncio.Event(), asyncio.Event()

    async def slow() -> dict[str, bytes]:
        begun.set()
        await goes_on.wait()
        return await MemoryStore.load_sessions(store)

    async with served(store) as here:
        kept = store.keep()
        await here.client.create_run("run", **RUN)
        store.load_sessions = slow  # type: ignore[method-assign]
        store.go_back(kept)
        await begun.wait()
        with pytest.raises(InvalidInput, match="has an owner that lives"):
            await open_silent(store)
        goes_on.set()
        await here.goes_on()
        assert len(await consumed(await grow(here.client))) == TASKS


async def test_a_run_of_which_tasks_are_gone_says_so_to_who_waits_and_has_them_again() -> None:
    store = ForgetfulStore()
    async with served(store) as here:
        run = await here.client.create_run("run", **RUN)
        await run.submit(tasks(2))
        kept = store.keep()
        await run.submit(tasks())
        await run.close()
        await ended(run)
        store.go_back(kept)
        await here.goes_on()
        with pytest.raises(Stalled, match=r"lost part of run 'run' \(4 tasks, .*: submit its tasks again"):
            await consumed(run)
        assert "lost part of run 'run' (4 tasks" in (await run.status()).lost
        await run.submit(tasks())
        await run.close()
        await ended(run)
        assert (await run.status()).finished == TASKS
        assert not (await here.client.audit()).violations


@pytest.mark.parametrize("end", ["close", "cancel", "cancel what is closed"])
async def test_what_ended_a_run_is_in_force_again(end: str) -> None:
    store = ForgetfulStore()
    async with served(store) as here:
        run = await here.client.create_run("run", **{**RUN, "max_depth": 40})
        await run.submit(tasks())
        if end == "cancel what is closed":
            await run.close()
        kept = store.keep()
        await (run.close() if end == "close" else run.cancel())
        await ended(run)
        store.go_back(kept)
        await here.goes_on()
        await consumed(run)
        status = await run.status()
        assert status.state == ("closed" if end == "close" else "cancelled")
        assert status.finished + status.failed == TASKS
        assert (await here.client.status()).lost_tasks == 0


async def test_a_lease_of_before_says_nothing_of_the_tree_that_has_its_place_now() -> None:
    store = ForgetfulStore()
    async with served(store) as here, await connect_async(here.service.address) as other:
        run = await here.client.create_run("run", **RUN)
        await run.submit(tasks(1))
        kept = store.keep()
        held = run.batches(trees=1, ack="manual", consumer="same")
        batch = await anext(held)
        store.go_back(kept)
        await here.goes_on()
        again = (await other.run("run")).batches(trees=1, ack="manual", consumer="same")
        newer = await anext(again)
        with pytest.raises(LeaseLost):
            await batch.ack()
        assert (await store.unacknowledged("run", "default")).pending == [1]
        await newer.ack()
        assert (await store.unacknowledged("run", "default")).pending == []


async def test_a_checkpoint_that_names_trees_which_are_lost_is_refused() -> None:
    store = ForgetfulStore()
    async with served(store) as here:
        run = await here.client.create_run("run", **RUN)
        await run.submit(tasks()[:2])
        batches = run.batches(trees=2, ack="manual")
        await (await anext(batches)).ack()
        early, kept = await batches.state_dict(), store.keep()
        await run.submit(tasks()[2:4])
        await (await anext(batches)).ack()
        late = await batches.state_dict()
        store.go_back(kept)
        await run.submit(tasks()[4:])
        await here.goes_on()
        await ended_as_closed(run)
        with pytest.raises(InvalidInput, match=r"names tree 4 .* has lost all after tree 2 since then"):
            await consumed_from(run, late)
        assert await consumed_from(run, early) == 2


async def test_who_lives_through_a_loss_saves_what_can_be_loaded() -> None:
    store = ForgetfulStore()
    async with served(store) as here:
        run = await here.client.create_run("run", **RUN)
        await run.submit(tasks()[:2])
        batches = run.batches(trees=2)
        await (await anext(batches)).ack()
        kept = store.keep()
        await run.submit(tasks()[2:4])
        await (await anext(batches)).ack()
        store.go_back(kept)
        await run.submit(tasks()[4:])
        await here.goes_on()
        await ended_as_closed(run)
        await (await anext(batches)).ack()
        state = await batches.state_dict()
        assert state["acknowledged"] == [[1, 4]]
        assert await consumed_from(run, state) == 0


async def test_who_starts_on_an_older_store_refuses_a_checkpoint_of_what_is_gone() -> None:
    store = ForgetfulStore()
    async with served(store) as here:
        run = await here.client.create_run("run", **RUN)
        await run.submit(tasks()[:2])
        batches = run.batches(trees=2)
        await (await anext(batches)).ack()
        early, kept = await batches.state_dict(), store.keep()
        await run.submit(tasks()[2:4])
        await (await anext(batches)).ack()
        late = await batches.state_dict()
    store.go_back(kept)
    async with served(store) as here:
        again = await here.client.run("run")
        await again.submit(tasks()[4:])
        await ended_as_closed(again)
        with pytest.raises(InvalidInput, match="has lost all after tree 2"):
            await consumed_from(again, late)
        assert await consumed_from(again, early) == 2


async def test_ranks_begin_anew() -> None:
    store = ForgetfulStore()
    async with served(store) as here:
        run = await grow(here.client)
        ranks = [run.batches(trees=1, ack="manual", rank=rank, world=2) for rank in range(2)]
        for share in await asyncio.gather(*map(anext, ranks)):
            await share.ack()
        kept = store.keep()
        shares = await asyncio.gather(*map(anext, ranks))
        await here.client.create_run("later", **RUN)
        store.go_back(kept)
        await here.goes_on()
        for share in shares:
            with pytest.raises(GroupMoved):
                await share.ack()
        assert (await store.open_group("run", "default", latest=False)).steps_out == 0


async def test_weights_that_replicas_have_loaded_stay_in_force() -> None:
    store = ForgetfulStore()
    async with served(store) as here:
        kept = store.keep()
        run = await here.client.create_run("run", **RUN)
        here.service.coordinator.state.pools[""].weights.current = Weights(3, "/weights/3", "digest")
        store.go_back(kept)

        async def is_another() -> bool:
            return here.service.coordinator.epoch > 1

        await eventually(is_another)
        assert here.service.coordinator.state.pools[""].weights.current == Weights(3, "/weights/3", "digest")
        with pytest.raises(UnknownRun):
            await run.status()


@pytest.mark.parametrize("reader", ["the loop", "scorers"])
async def test_what_cannot_be_read_because_the_store_went_back_is_no_end(reader: str) -> None:
    store = ForgetfulStore()
    async with served(store) as here:
        coordinator = here.service.coordinator

        async def missing(*_: object) -> Any:
            store.go_back(kept)
            raise StoreError("node 3 of tree t is not in the store")

        kept = store.keep()
        run = await here.client.create_run("run", **RUN)
        if reader == "the loop":
            coordinator.orders.make = missing  # type: ignore[method-assign]
        else:
            store.load_nodes = missing  # type: ignore[method-assign]
        await run.submit(tasks(1))
        await here.goes_on()
        if reader == "scorers":
            del store.load_nodes
        with pytest.raises(UnknownRun):
            await run.status()
        assert len(await consumed(await grow(here.client))) == TASKS


async def test_what_is_gone_of_a_run_that_is_there_in_part_is_counted() -> None:
    store = MemoryStore()
    now = api.Run(run_id="run", submitted=9, finished=5, failed=1, ledger=pb.Ledger(spent=100))
    then = api.Run(run_id="run", submitted=6, finished=2, ledger=pb.Ledger(spent=40))
    same = api.Run(run_id="same", submitted=6).SerializeToString()
    await store.commit(Commit(runs={"run": then.SerializeToString(), "same": same}), await store.open())
    [gone] = await what_is_gone(store, {"run": now.SerializeToString(), "same": same})
    assert str(gone) == "part of run 'run' (3 tasks, 4 trees that had ended, 60 tokens)"
    assert await what_is_gone(store, {"same": same}) == []


@pytest.mark.parametrize(
    "meanwhile", [None, stored.PoolModel(digest="of another owner", engine="vllm")], ids=["nobody", "another"]
)
async def test_a_pools_model_outlives_its_store_unless_another_owner_had_that_and_stored_one(
    meanwhile: stored.PoolModel | None,
) -> None:
    """Whose runs may grow with it: what replicas served before says nothing of those."""
    store = ForgetfulStore()
    empty = store.keep()
    async with served(store) as here:
        service, known = here.service, here.service.coordinator.state.pools[""].model
        assert known is not None
        here.replica.cancel()

        async def is_alone() -> bool:
            return not service.coordinator.state.replicas

        await eventually(is_alone)
        empty["_models"] = {} if meanwhile is None else {"": meanwhile.SerializeToString()}
        store.go_back(empty)

        async def goes_on() -> bool:
            return service.coordinator.epoch > 1

        await eventually(goes_on)
        now = service.coordinator.state.pools[""].model
        assert now == (known if meanwhile is None else PoolModel(meanwhile.digest, meanwhile.engine))
