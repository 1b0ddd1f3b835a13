"""Trees that expire once all groups have acknowledged them, and runs that are deleted, in a whole service."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.support.eventually import eventually

from treeroll.cli.main import app
from treeroll.client import AsyncClient, AsyncRun, connect_async
from treeroll.coordinator.retention import Retention
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput, RunBusy, StoreDown, StoreError, UnknownRun, UnknownTree
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store import keys
from treeroll.store.base import Commit, Store
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.memory import MemoryStore
from treeroll.store.redis import RedisStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service, running_service

RUN: dict[str, Any] = {"recipe": "treepo", "leaves": 2, "segment_tokens": 16, "max_depth": 2, "scorer": "arith"}
KEEP_S = 100.0


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, empty_redis: EmbeddedRedis) -> Store:
    return MemoryStore() if request.param == "memory" else RedisStore(empty_redis.url)


async def finished(client: AsyncClient, run_id: str, tasks: int = 4) -> AsyncRun:
    """A run whose trees have all ended."""
    run = await client.create_run(run_id, **RUN)
    await run.submit(read_tasks(TASKS_FILE, limit=tasks))
    await run.close()

    async def ended() -> bool:
        return (await run.status()).ended

    await eventually(ended)
    return run


async def take(run: AsyncRun, group: str, trees: int) -> list[str]:
    """Trees that a group has acknowledged."""
    async for batch in run.batches(trees=trees, group=group):
        await batch.ack()
        return [tree.tree_id for tree in batch.trees]
    return []


def retention_of(service: LocalService) -> Retention:
    return Retention(service.coordinator, KEEP_S)


async def test_trees_expire_after_all_groups_have_acknowledged_them(store: Store) -> None:
    async with local_service(store) as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        run, retention = await finished(client, "expiring"), retention_of(service)
        first, _ = await take(run, "a", 3), await take(run, "b", 1)
        await retention.sweep(0.0)
        await retention.sweep(KEEP_S - 1)
        assert retention.expired_trees == 0
        await retention.sweep(KEEP_S)
        assert (retention.expired_trees, retention.expired["expiring"]) == (1, 1)
        with pytest.raises(UnknownTree, match="expired"):
            await run.get_tree(first[0])
        with pytest.raises(UnknownTree):
            await run.report_rewards([(first[0], "0", 1.0)])
        assert (await client.audit()).violations == []
        assert (await client.audit()).expired_trees == 1
        with pytest.raises(
            InvalidInput, match="group 'late' is new to run 'expiring', and 1 of its trees have expired"
        ):
            await take(run, "late", 1)
        assert len(await take(run, "b", 4)) == 3
        await retention.sweep(KEEP_S + 1)
        await retention.sweep(2 * KEEP_S + 1)
        assert retention.expired["expiring"] == 3  # group a has not taken the last one
        await run.submit(read_tasks(TASKS_FILE, limit=4))  # known still: nothing is grown again
        assert (await run.status()).submitted == 4


class Away(MemoryStore):
    """Takes no commit while it is away, and answers what it is asked."""

    is_away = False

    async def commit(self, commit: Commit, epoch: int) -> None:
        if self.is_away:
            raise StoreDown("it is away")
        await super().commit(commit, epoch)


async def test_a_tree_stays_as_long_as_rewards_are_on_their_way_to_a_store_that_was_away() -> None:
    """Else it would come back with rewards and without nodes, and stay: the world of seed 304106."""
    store = Away()
    async with local_service(store) as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        run, retention = await finished(client, "r", 1), service.retention
        [tree_id] = await take(run, "a", 1)
        report = api.RewardReport(tree_id=tree_id, path="0", value=1.0)
        store.is_away = True
        with pytest.raises(StoreDown):
            await service.life.rollouts._rewards.report(api.ReportRewardsRequest(run_id="r", rewards=[report]))
        store.is_away = False
        with pytest.raises(StoreDown):  # for what it was told is not there yet
            await retention._expire("r", 1)

        async def goes_on() -> bool:
            return service.coordinator.outage.since is None

        await eventually(goes_on)
        stored = await store.load_tree(tree_id)
        assert stored is not None
        assert any(key.endswith("client:1") for key in stored.rewards)
        await retention._expire("r", 1)
        assert await store.load_tree(tree_id) is None
        assert retention.expired["r"] == 1


async def test_a_service_lets_trees_expire_by_itself_and_counts_them() -> None:
    async with local_service(keep_acknowledged_s=0.0) as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        run = await finished(client, "r")
        await take(run, "a", 4)

        async def gone() -> bool:
            return (await client.status()).expired_trees == 4 == (await run.status()).expired_trees

        await eventually(gone)
        assert [batch async for batch in run.batches(group="a")] == []
        assert (await client.audit()).violations == []


async def test_a_deleted_run_is_gone_and_its_name_is_free(store: Store) -> None:
    async with local_service(store) as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        other = await finished(client, "other", 1)
        run = await finished(client, "doomed")
        [tree_id] = await take(run, "a", 1)
        assert await client.delete_run("doomed") == 4
        for call in (run.status(), client.run("doomed"), client.delete_run("doomed"), take(run, "a", 1)):
            with pytest.raises(UnknownRun):
                await call
        with pytest.raises(UnknownTree):
            await client.get_tree(tree_id)
        status = await client.status()
        assert (status.run_ids, status.deleted_runs) == (["other"], 1)
        assert (await client.audit()).violations == []
        again = await finished(client, "doomed", 2)
        assert len(await take(again, "a", 4)) == 2
        assert len(await take(other, "a", 1)) == 1


async def test_a_run_by_the_name_of_a_deleted_one_is_grown_by_its_own_settings() -> None:
    settings = {"leaves": 3, "max_depth": 4, "max_tokens": 40, "stop": ["Step"], "top_p": 0.5, "temperature": 0.5}
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        await finished(client, "again")
        await client.delete_run("again")
        run = await client.create_run("again", **(RUN | settings))
        await run.submit(read_tasks(TASKS_FILE, limit=4))
        await run.close()
        async for batch in run.batches(trees=4):
            assert [len(tree.samples) for tree in batch.trees] == [3] * 4
            assert {(sample.top_p, sample.temperature) for sample in batch} == {(0.5, 0.5)}
            # What the engine was told, not only what the record says of it.
            assert {sample.stop_reason for sample in batch} == {"stop"}


async def test_a_run_that_has_not_ended_is_not_deleted() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        run = await client.create_run("busy", **RUN)
        with pytest.raises(RunBusy, match="run 'busy' is open"):
            await client.delete_run("busy")
        await run.submit(read_tasks(TASKS_FILE, limit=3))
        await run.close()
        with pytest.raises(RunBusy, match="3 of its tasks wait"):
            await client.delete_run("busy")
        await run.cancel()

        async def ended() -> bool:
            return (await run.status()).ended

        await eventually(ended)
        assert await client.delete_run("busy") == 3


async def test_a_consumer_that_waits_is_told_that_its_run_was_deleted_and_does_not_bring_it_back() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        run = await finished(client, "r", 2)
        async with run.batches(trees=1, group="a") as batches:
            await anext(batches)
            waiting = asyncio.create_task(take(run, "a", 2))  # the other tree, then for what is on lease
            await asyncio.sleep(0)
            await client.delete_run("r")
            with pytest.raises(UnknownRun):
                await waiting
        assert await service.store.run_ids() == []
        assert await service.store.group_names("r") == []


async def test_a_deadline_of_a_deleted_run_does_not_end_one_of_the_same_name() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        first = await client.create_run("r", **RUN, budget={"seconds": 0.2})
        await first.cancel()
        await client.delete_run("r")
        second = await client.create_run("r", **RUN, budget={"seconds": 3600.0})

        async def passed() -> bool:
            return len(service.coordinator.state.ends) == 1

        await eventually(passed)
        assert (await second.status()).state == "open"


async def test_runs_of_an_earlier_life_are_there_and_can_be_deleted(empty_redis: EmbeddedRedis) -> None:
    async with local_service(RedisStore(empty_redis.url)) as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        await finished(client, "earlier", 2)
    async with local_service(RedisStore(empty_redis.url)) as service, await connect_async(service.address) as client:
        assert (await (await client.run("earlier")).status()).finished == 2
        assert await client.delete_run("earlier") == 2
        assert await service.store.load_run("earlier") is None


def kept(store: Store) -> dict[str, object]:
    """All that a store has, but for what it says of its owner and of replicas."""
    if isinstance(store, MemoryStore):
        parts = {name: part for name, part in vars(store).items() if isinstance(part, dict) and part}
        return {name: dict(part) for name, part in parts.items() if name != "_sessions"}
    assert isinstance(store, RedisStore)
    with Redis.from_url(store.address) as redis:
        hashes = {keys.RUNS, keys.FEEDS, keys.EXPIRED, keys.ENDED}
        fields = {key: set(redis.hkeys(key)) for key in hashes if redis.exists(key)}
        told = hashes | {keys.OWNER, keys.STATUS, keys.POINTS}
        return fields | {key: "" for key in map(bytes.decode, redis.scan_iter()) if key not in told}


async def test_nothing_is_left_of_a_run_whose_time_is_over_and_all_of_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumed, sweep = asyncio.Event(), Retention.sweep_runs

    async def sweep_once_consumed(retention: Retention) -> None:
        await consumed.wait()
        await sweep(retention)

    monkeypatch.setattr(Retention, "sweep_runs", sweep_once_consumed)
    if isinstance(store, RedisStore):
        await store._call("FLUSHALL")
    async with local_service(store, keep_finished_s=0.5) as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        stays = await client.create_run("stays", **RUN)
        await stays.collect(await stays.submit(read_tasks(TASKS_FILE, limit=1)))
        before = kept(store)
        run = await finished(client, "goes")
        await take(run, "a", 2)
        group = run.batches(trees=1, group="b")
        assert (await anext(group)).trees
        state = await group.state_dict()
        await group.load_state_dict(state)
        await run.report_rewards([((await take(run, "c", 1))[0], "0", 1.0)], version=2, scorer="other")
        assert kept(store) != before
        consumed.set()

        async def gone() -> bool:
            return (await client.status()).deleted_runs == 1

        await eventually(gone)
        assert kept(store) == before
        assert (await client.status()).run_ids == ["stays"]
        with pytest.raises(UnknownRun):
            await run.status()
        assert (await stays.status()).state == "open"
        assert (await client.audit()).violations == []


async def test_a_run_stays_for_its_time_after_its_end_and_after_the_last_word_of_a_consumer() -> None:
    now = [0.0]
    store = MemoryStore(clock=lambda: now[0])
    async with local_service(store) as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        run, retention = await client.create_run("r", **RUN), Retention(service.coordinator, None, KEEP_S)

        async def stays(at: float) -> bool:
            now[0] = at
            await retention.sweep_runs()
            return "r" in service.coordinator.state.runs

        trees = await run.submit(read_tasks(TASKS_FILE, limit=1))
        await run.collect(trees)
        assert await stays(10 * KEEP_S)  # it is open
        await run.close()
        assert await stays(20 * KEEP_S)  # its time begins when it is first seen to have ended
        assert await stays(21 * KEEP_S - 1)
        retention.heard("r")
        assert await stays(21 * KEEP_S)
        assert await stays(22 * KEEP_S - 1)
        assert not await stays(22 * KEEP_S)


async def test_the_time_of_a_run_goes_on_in_the_next_life_of_the_service(redis_server: EmbeddedRedis) -> None:
    async with local_service(RedisStore(redis_server.url)) as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        await finished(client, "old", 2)
        await Retention(service.coordinator, None, KEEP_S).sweep_runs()
    async with local_service(RedisStore(redis_server.url)) as service:
        redis = Redis.from_url(redis_server.url)
        store, epoch = service.store, service.coordinator.epoch
        since = redis.hget(keys.ENDED, "old")
        assert since is not None

        async def later() -> bool:
            return await store.ended_s("old", epoch) > 0.0

        await eventually(later)
        assert redis.hget(keys.ENDED, "old") == since
        await Retention(service.coordinator, None, 1e-6).sweep_runs()
        assert await store.load_run("old") is None


@pytest.mark.parametrize("call", ["collect", "take", "report_rewards"])
async def test_who_asks_for_the_trees_of_a_run_is_heard(call: str) -> None:
    async with local_service(keep_finished_s=KEEP_S) as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        run = await finished(client, "r", 2)
        trees = await take(run, "a", 1)
        heard: list[str] = []
        service.retention.heard = heard.append  # type: ignore[method-assign]
        if call == "collect":
            await run.collect(trees)
        elif call == "take":
            await take(run, "a", 1)
        else:
            await run.report_rewards([(trees[0], "0", 1.0)], scorer="other")
        assert set(heard) == {"r"}
        heard.clear()
        await run.status()
        assert heard == []


async def test_a_store_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treeroll.coordinator.retention.SHORTEST_S", 0.01)
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0", slots=32)
        await take(await finished(client, "r", 1), "a", 1)
        refusals = iter([StoreError("away"), StoreError("away")])
        settled = service.store.settled

        async def answer(run_id: str) -> int:
            if (refusal := next(refusals, None)) is not None:
                raise refusal
            return await settled(run_id)

        monkeypatch.setattr(service.store, "settled", answer)
        retention = Retention(service.coordinator, 0.0)
        sweeping = asyncio.create_task(retention.run())

        async def gone() -> bool:
            return retention.expired_trees == 1

        await eventually(gone)
        sweeping.cancel()


def test_the_command_deletes_a_run_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import treeroll

    with running_service() as address, treeroll.connect(address) as client:
        client.create_run("r", **RUN).cancel()
        assert app.run(["delete", "r", "--address", address]) == 0
        assert capsys.readouterr().out == "run r is deleted, with 0 tasks\n"
        assert app.run(["delete", "r", "--address", address]) == 2
        assert "there is no run 'r'" in capsys.readouterr().err
        assert app.run(["status", "--address", address]) == 0
        assert "0 trees expired, 1 run deleted" in capsys.readouterr().out
