"""Replica sessions that go wrong: lost leases, nonsense, old lives, slow stores. The work goes on."""

import asyncio
import platform
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from tests.support.eventually import eventually
from tests.support.pace import halting_engine

from treeroll import __version__
from treeroll.client import connect_async
from treeroll.config import CoordinatorConfig
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig, SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.replica import Replica
from treeroll.generator.session import SessionRefused
from treeroll.generator.standalone import Place, run_replica
from treeroll.model.facts import load_facts
from treeroll.pb.v1 import common_pb2, replica_pb2_grpc
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.pb.v1.watch_pb2 import Snapshot
from treeroll.store.base import Commit
from treeroll.store.memory import MemoryStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 32, "max_depth": 10, "scorer": "arith"}
ENGINE = common_pb2.EngineInfo(
    engine="simulated", model="simulated", block_size=32, max_model_len=1024, slots=4, logprobs_mode="processed"
)


def hello(
    incarnation: int = 1,
    pool: str = "",
    tokenizer_hash: str | None = None,
    version: str = __version__,
    digest: str = "",
    **changes: Any,
) -> wire.ReplicaMessage:
    engine = common_pb2.EngineInfo()
    engine.CopyFrom(ENGINE)
    for name, value in changes.items():
        setattr(engine, name, value)
    said = wire.Hello(replica_id="r0", incarnation=incarnation, engine=engine, pool=pool)
    said.origin.version, said.origin.host = version, "gpu-7"
    said.origin.model_digest = digest
    said.tokenizer_hash = load_facts(MODEL_DIR).hash if tokenizer_hash is None else tokenizer_hash
    return wire.ReplicaMessage(hello=said)


async def say(service: LocalService, *messages: wire.ReplicaMessage) -> tuple[grpc.StatusCode, str]:
    """Speak as a replica until the coordinator ends the call; returns how it did."""
    async with grpc.aio.insecure_channel(service.address) as channel:
        stub: Any = replica_pb2_grpc.ReplicaPlaneStub(channel)

        async def speak() -> AsyncIterator[wire.ReplicaMessage]:
            for message in messages:
                yield message
            await asyncio.Event().wait()

        call = stub.Session(speak())
        try:
            async for _ in call:
                pass
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        return await call.code(), ""


@pytest.mark.parametrize(
    ("report", "complaint"),
    [
        (wire.Report(seq=1, segments=[wire.Segment(grant=1, tokens=2, node=b"\0" * 8)]), "whose node cannot be read"),
        (
            wire.Report(seq=1, segments=[wire.Segment(grant=1, end=wire.BranchEnd(reason=99))]),  # type: ignore[arg-type]
            "unknown reason 99",
        ),
    ],
)
async def test_a_report_that_cannot_be_read_ends_the_session_and_is_not_acknowledged(
    report: wire.Report, complaint: str
) -> None:
    async with local_service() as service:
        code, details = await say(service, hello(), wire.ReplicaMessage(report=report))
        assert code is grpc.StatusCode.ABORTED
        assert complaint in details
        assert service.coordinator.state.replicas == {}


async def test_a_report_says_how_full_the_kv_cache_is() -> None:
    async with local_service() as service:
        report = wire.Report(seq=1, kv_usage=0.75)
        speaking = asyncio.create_task(say(service, hello(), wire.ReplicaMessage(report=report)))

        async def heard() -> bool:
            replica = service.coordinator.state.replicas.get("r0")
            return replica is not None and replica.kv_usage == 0.75

        await eventually(heard)
        speaking.cancel()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"slots": 0}, "no slots"),
        ({"max_model_len": 100}, "context of 100 tokens"),
        ({"tokenizer_hash": "0"}, "replica r0 serves simulated with tokenizer 0, but the service has"),
        (
            {"logprobs_mode": "raw"},
            "replica r0 on gpu-7 says raw log probabilities, and the service's trees have processed ones: set ",
        ),
        ({"version": "0.2.0"}, f"replica r0 on gpu-7 has treeroll 0.2.0, the service has {__version__}: install"),
        ({"version": ""}, "has treeroll of an older version, the service has"),
        ({"pool": "large"}, "replica r0 is of pool 'large', but the service serves one model without a name"),
    ],
)
async def test_a_replica_that_cannot_serve_is_refused_with_the_reason(changes: dict[str, Any], complaint: str) -> None:
    async with local_service() as service:
        code, details = await say(service, hello(**changes))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert complaint in details


async def test_another_model_than_the_pools_is_refused_whatever_its_path_and_the_same_is_taken_from_any() -> None:
    async with local_service() as service:
        first = asyncio.create_task(say(service, hello(digest="d1", model="/models/qwen")))

        async def joined() -> bool:
            return "r0" in service.coordinator.state.replicas

        await eventually(joined)
        other = hello(digest="d2", model="/models/qwen")
        other.hello.replica_id, other.hello.origin.host = "r1", "gpu-8"
        code, details = await say(service, other)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details == (
            "replica r1 on gpu-8 serves /models/qwen with digest d2, but the fleet has /models/qwen with digest d1, as "
            "replica r0 on gpu-7: copy the same model to both, or end the other replicas of the pool before this one "
            "joins"
        )
        same = hello(digest="d1", model="/mnt/qwen")
        same.hello.replica_id = "r1"
        same.hello.weight_version = 0
        second = asyncio.create_task(say(service, same))

        async def both() -> bool:
            return set(service.coordinator.state.replicas) == {"r0", "r1"}

        await eventually(both)
        for task in (first, second):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)


async def test_a_model_that_could_not_join_is_not_its_pools() -> None:
    async with local_service() as service:
        code, _ = await say(service, hello(digest="d1", slots=0))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        speaking = asyncio.create_task(say(service, hello(digest="d2")))

        async def joined() -> bool:
            return "r0" in service.coordinator.state.replicas

        await eventually(joined)
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)


async def test_a_lost_lease_is_logged_with_cause_silence_and_node(caplog: pytest.LogCaptureFixture) -> None:
    async with local_service(coordinator=CoordinatorConfig(port=0, heartbeat_s=0.1, lease_s=0.4)) as service:
        code, details = await say(service, hello())  # and then it is silent
        assert code is grpc.StatusCode.ABORTED
        assert "it was silent for" in details
        lost = [record.getMessage() for record in caplog.records if "lost its lease" in record.getMessage()]
        assert len(lost) == 1
        said = r"replica r0 incarnation 1 on gpu-7 lost its lease, \d+\.\d s after it was heard last: "
        assert re.fullmatch(said + r"it was silent for \d+\.\d s", lost[0])
        assert "broke" not in caplog.text


async def test_a_replica_that_was_lost_long_ago_is_told_of_no_more_and_stays_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("treeroll.coordinator.snapshots.EVERY_S", 0.1)
    async with local_service() as service:
        speaking = asyncio.create_task(say(service, hello()))

        async def joined() -> bool:
            return "r0" in service.coordinator.state.replicas

        await eventually(joined)
        service.lose("r0", 1)
        await speaking
        service.start_replica("r1")
        await service.joined()
        client = await connect_async(service.address)
        assert [one.replica_id for one in (await client.status()).replicas] == ["r0", "r1"]
        monkeypatch.setattr("treeroll.coordinator.replica_server.FORGOTTEN_S", 0.0)

        async def forgotten() -> bool:
            return [one.replica_id for one in (await client.status()).replicas] == ["r1"]

        await eventually(forgotten)
        snapshot = Snapshot.FromString((await service.life.snapshots.take())[0])
        assert [one.replica_id for one in snapshot.replicas] == ["r1"]
        assert [pool.forgotten_losses for pool in snapshot.pools] == [1]
        code, details = await say(service, hello())
        assert code is grpc.StatusCode.ABORTED  # it is fenced as before
        assert "lost its lease" in details


async def test_status_and_snapshot_say_what_a_replica_is_made_of() -> None:
    async with local_service() as service:
        service.start_replica("r0")
        await service.joined()
        client = await connect_async(service.address)
        [replica] = (await client.status()).replicas
        assert replica.origin.version == __version__
        assert replica.origin.host == socket.gethostname()
        assert replica.origin.software["python"] == platform.python_version()
        snapshot = Snapshot.FromString((await service.life.snapshots.take())[0])
        assert snapshot.replicas[0].origin.host == replica.origin.host


async def test_a_plain_replica_of_another_version_ends_as_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treeroll.generator.origin.__version__", "0.9.0")
    async with local_service() as service:
        place = Place("r0", service.address)
        config = GeneratorConfig(engine="simulated", max_model_len=1024)
        with pytest.raises(InvalidInput, match=f"replica r0 on .* has treeroll 0.9.0, the service has {__version__}: "):
            await asyncio.wait_for(run_replica(config, place, lambda incarnation: None, asyncio.Event()), 300)


async def test_an_older_life_is_refused_and_takes_no_orders_from_the_newer_one() -> None:
    async with local_service(SlowStore(0.03)) as service:
        service.start_replica("r0", incarnation=2, slots=4, latency=SimulatedLatency(step_s=0.002))
        client = await connect_async(service.address)
        run = await client.create_run("run", **RUN)
        tasks = list(read_tasks(TASKS_FILE, limit=6))

        async def joined() -> bool:
            return "r0" in service.coordinator.state.replicas

        await eventually(joined)
        await run.submit(tasks)
        code, details = await say(service, hello(incarnation=1))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "is fenced: 2 has been seen" in details
        await run.close()
        assert len([tree async for batch in run.batches() for tree in batch.trees]) == 6


class SlowStore(MemoryStore):
    """A store whose commits take `delay_s`."""

    def __init__(self, delay_s: float) -> None:
        super().__init__()
        self.delay_s = delay_s

    async def commit(self, commit: Commit, epoch: int) -> None:
        await asyncio.sleep(self.delay_s)
        await super().commit(commit, epoch)


async def test_a_commit_slower_than_a_lease_does_not_cost_replicas_their_leases() -> None:
    store = SlowStore(0.0)
    config = CoordinatorConfig(port=0, heartbeat_s=0.1, lease_s=0.6)
    async with local_service(store, config) as service:
        service.start_replica("r0", latency=SimulatedLatency(step_s=0.001))
        client = await connect_async(service.address)
        run = await client.create_run("run", **RUN)
        store.delay_s = 1.5
        await run.submit(read_tasks(TASKS_FILE, limit=3))
        store.delay_s = 0.0
        await run.close()
        assert len([tree async for batch in run.batches() for tree in batch.trees]) == 3
        assert (await run.status()).regrants == 0


async def test_another_process_that_says_to_be_the_same_life_is_refused() -> None:
    async with local_service() as service:
        service.start_replica("r0")
        await service.joined()
        code, details = await say(service, hello(max_model_len=1024))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert details == "replica r0 incarnation 1 is fenced: another process is it"


async def test_a_newer_life_ends_the_older_process() -> None:
    async with local_service() as service:
        older = service.start_replica("r0")
        await service.joined()
        service.start_replica("r0", incarnation=2)
        with pytest.raises(SessionRefused, match=r"replica r0 incarnation 1 lost its lease \(it was restarted\)"):
            await asyncio.wait_for(older, 300)


async def welcomed(service: LocalService, process: int) -> tuple[wire.Welcome, asyncio.Task[None]]:
    """Join as a process that nobody has numbered; the task speaks on until it is cancelled."""
    said = hello(incarnation=0)
    said.hello.process = process
    heard: asyncio.Future[wire.Welcome] = asyncio.get_running_loop().create_future()

    async def speak() -> None:
        async def messages() -> AsyncIterator[wire.ReplicaMessage]:
            yield said
            await asyncio.shield(heard)  # what is written while a call is being refused fails in gRPC's own words
            while True:
                yield wire.ReplicaMessage(heartbeat=wire.Heartbeat())
                await asyncio.sleep(0.05)

        async with grpc.aio.insecure_channel(service.address) as channel:
            stub: Any = replica_pb2_grpc.ReplicaPlaneStub(channel)
            async for answer in stub.Session(messages()):
                if answer.HasField("welcome"):
                    heard.set_result(answer.welcome)

    task = asyncio.create_task(speak())
    await asyncio.wait([heard, task], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    return await heard, task


async def test_the_coordinator_numbers_a_process_that_nobody_has_numbered() -> None:
    async with local_service(await store_of_epoch(3)) as service:
        first, speaking = await welcomed(service, process=1)
        assert first.incarnation == 20_001  # of the third life of this store
        again, also = await welcomed(service, process=1)  # whose welcome was lost
        assert again.incarnation == first.incarnation
        with pytest.raises(grpc.aio.AioRpcError, match=r"another process is replica r0 and was heard .* \(--name\)"):
            await welcomed(service, process=2)
        for task in (speaking, also):
            task.cancel()
        await asyncio.gather(speaking, also, return_exceptions=True)

        async def takes_its_name() -> bool:
            try:
                next_, task = await welcomed(service, process=2)
            except grpc.aio.AioRpcError:
                return False
            task.cancel()
            assert next_.incarnation == first.incarnation + 1
            return True

        await eventually(takes_its_name)


async def test_what_a_replica_had_that_says_goodbye_is_granted_elsewhere_at_once() -> None:
    async with local_service(coordinator=CoordinatorConfig(port=0, heartbeat_s=0.2, lease_s=600.0)) as service:
        leaving = Replica(halting_engine(0), Detokenizer(MODEL_DIR), "r0", 0, service.address)
        task = asyncio.create_task(leaving.run())
        client = await connect_async(service.address)
        run = await client.create_run("run", **RUN)
        await run.submit(read_tasks(TASKS_FILE, limit=3))
        await run.close()

        async def it_works() -> bool:
            return leaving.live_branches > 0

        await eventually(it_works)
        service.start_replica("r1")
        await service.joined()
        leaving.leave()
        await asyncio.wait_for(task, 300)
        assert len([tree async for batch in run.batches() for tree in batch.trees]) == 3
        assert (await run.status()).quarantined == []
        assert set(service.coordinator.state.replicas) == {"r1"}


async def store_of_epoch(epoch: int) -> MemoryStore:
    store = MemoryStore()
    for _ in range(epoch - 1):
        await store.open()
    return store


async def test_cancelling_many_waiting_tasks_ends_them_in_bounded_commits() -> None:
    sizes: list[int] = []

    class Measured(MemoryStore):
        async def commit(self, commit: Commit, epoch: int) -> None:
            sizes.append(len(commit.feed))
            await super().commit(commit, epoch)

    async with local_service(Measured()) as service:
        client = await connect_async(service.address)
        run = await client.create_run("run", **RUN)
        await run.submit({"id": f"t{i}", "prompt": "Compute 1+2.\n", "answer": "3"} for i in range(5000))
        await run.cancel()
        ended = 0
        async for batch in run.batches(trees=500, allow_empty=True):
            ended += len(batch.failures)
        assert ended == 5000
        assert max(sizes) <= 2000
