"""Health checks: liveness from the first moment, readiness only while new work would grow."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.access import Credentials
from tests.support.eventually import eventually
from tests.support.ports import free_port

from treeroll import service as service_module
from treeroll.addresses import join
from treeroll.channels import open_channel
from treeroll.cli.main import app
from treeroll.client import connect_async
from treeroll.client.channel import typed
from treeroll.config import CoordinatorConfig, StoreConfig
from treeroll.coordinator.door import open_door
from treeroll.coordinator.readiness import AVAILABLE, NOT_SERVING, ROLLOUTS, SERVING, Readiness
from treeroll.coordinator.scoring import Scoring
from treeroll.core.model.fleet import Replica
from treeroll.errors import Unavailable
from treeroll.generator.config import GeneratorConfig
from treeroll.pb.v1 import rollout_pb2, rollout_pb2_grpc
from treeroll.scorers.inline import InlineScorers
from treeroll.service import ServiceConfig, make_coordinator
from treeroll.store.memory import MemoryStore
from treeroll.testing.service import LocalService, local_service
from treeroll.tokenizer import Tokenizer


async def ask(service: LocalService, name: str = ROLLOUTS) -> int:
    async with open_channel(service.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status


async def becomes(service: LocalService, status: int, name: str = ROLLOUTS) -> None:
    async def so() -> bool:
        return await ask(service, name) == status

    await eventually(so)


def test_the_name_of_readiness_is_the_one_that_probes_are_written_with() -> None:
    assert ROLLOUTS == "treeroll.v1.Rollouts"


async def test_a_service_is_alive_at_once_and_ready_with_its_first_replica() -> None:
    async with local_service() as service:
        assert (await ask(service, ""), await ask(service)) == (SERVING, NOT_SERVING)
        service.start_replica("r0")
        await becomes(service, SERVING)
        assert await ask(service, "") == SERVING


async def test_it_is_not_ready_when_no_replica_is_left_and_again_with_the_next() -> None:
    async with local_service() as service:
        one, _ = service.start_replica("r0"), service.start_replica("r1")
        await service.joined()
        one.cancel()
        service.lose("r0", 1)
        await service.coordinator.call()
        assert await ask(service) == SERVING
        service.lose("r1", 1)
        await becomes(service, NOT_SERVING)
        assert await ask(service, "") == SERVING
        service.start_replica("r2")
        await becomes(service, SERVING)


async def test_every_pool_needs_a_replica() -> None:
    async with local_service(pools=("small", "large")) as service:
        service.start_replica("r0", pool="small")
        await service.joined()
        assert await ask(service) == NOT_SERVING
        service.start_replica("r1", pool="large")
        await becomes(service, SERVING)


async def test_a_service_that_drains_is_not_ready_until_the_drain_is_taken_back() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        await becomes(service, SERVING)
        await client.drain()
        assert (await ask(service, ""), await ask(service)) == (SERVING, NOT_SERVING)
        await client.undrain()
        assert await ask(service) == SERVING


async def test_who_watches_is_told_of_every_change() -> None:
    async with local_service() as service, open_channel(service.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=ROLLOUTS))
        assert (await watch.read()).status == NOT_SERVING
        service.start_replica("r0")
        assert (await watch.read()).status == SERVING
        service.lose("r0", 1)
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()


async def test_a_service_that_starts_is_alive_and_tells_clients_to_wait() -> None:
    door = await open_door(CoordinatorConfig(port=0))
    address = join("127.0.0.1", door.port)
    try:
        async with open_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            assert (await stub.Check(health_pb2.HealthCheckRequest())).status == SERVING
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=ROLLOUTS))).status == NOT_SERVING
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await rollout_pb2_grpc.RolloutsStub(channel).GetService(rollout_pb2.GetServiceRequest())  # type: ignore[no-untyped-call]
        told = typed(refused.value, address, "GetService")
        assert (type(told), str(told)) == (Unavailable, "the service is still starting; try again in a while")
    finally:
        await door.close(0)


async def test_who_has_the_store_is_available_though_it_has_no_replica() -> None:
    async with local_service() as service:
        await becomes(service, SERVING, AVAILABLE)
        assert await ask(service) == NOT_SERVING


async def test_who_starts_is_available_once_it_hears_the_owner_of_its_store_and_no_longer_when_it_stops() -> None:
    door = await open_door(CoordinatorConfig(port=0))
    address = join("127.0.0.1", door.port)
    try:
        for change, expected in (
            (lambda: None, NOT_SERVING),
            (lambda: door.readiness.stand_by(True), SERVING),
            (lambda: door.readiness.stand_by(False), NOT_SERVING),
            (lambda: door.readiness.stand_by(True), SERVING),
            (door.readiness.stop, NOT_SERVING),
        ):
            change()
            async with open_channel(address) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                assert (await stub.Check(health_pb2.HealthCheckRequest(service=AVAILABLE))).status == expected
    finally:
        await door.close(0)


async def test_a_port_of_their_own_answers_probes_without_tls_and_answers_nothing_else(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    credentials.token("operator", "ops")
    config = CoordinatorConfig(port=0, health_port=free_port())
    door = await open_door(config, credentials.config(tls=True))
    try:
        async with open_channel(f"127.0.0.1:{config.health_port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            assert (await stub.Check(health_pb2.HealthCheckRequest())).status == SERVING
            for method in ("/treeroll.v1.Rollouts/GetService", "/grpc.health.v1.Health/Watch"):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary(method)(b"")
                assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        async with open_channel(join("127.0.0.1", door.port)) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    finally:
        await door.close(0)


async def test_a_command_probes_for_those_who_can_only_run_one(capsys: pytest.CaptureFixture[str]) -> None:
    async def says(*words: str) -> tuple[int, str]:
        code = await asyncio.to_thread(app.run, ["health", *words])
        out, error = capsys.readouterr()
        return code, out + error

    async with local_service() as service:
        await becomes(service, SERVING, AVAILABLE)
        assert await says("--address", service.address) == (0, "available\n")
        assert await says("--address", service.address, "--ready") == (
            1,
            f"error: the service at {service.address} is not ready\n",
        )
        service.start_replica("r0")
        await becomes(service, SERVING)
        assert await says("--address", service.address, "--ready") == (0, "ready\n")
    code, said = await says("--address", service.address)
    assert (code, said.startswith(f"error: no health check is answered at {service.address}: ")) == (1, True)
    assert (await says("--address", "nowhere"))[0] == 2


async def test_a_taken_port_for_probes_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} on 127.0.0.1 is taken"):
            await open_door(CoordinatorConfig(port=0, health_port=port))


async def test_serve_answers_probes_while_its_parts_start_and_stops_then(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def never_up(*_: object) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    for name in ("tune_gc", "tune_malloc"):  # of a whole process
        monkeypatch.setattr(service_module, name, lambda: None)
    monkeypatch.setattr(service_module, "running_ray", never_up)
    port = free_port()
    config = ServiceConfig(
        generator=GeneratorConfig(engine="none"),
        store=StoreConfig(url="memory"),
        coordinator=CoordinatorConfig(port=port),
    )
    stop = asyncio.Event()
    serving = asyncio.create_task(service_module.serve(config, lambda address: None, stop))

    async def alive() -> bool:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                live = await stub.Check(health_pb2.HealthCheckRequest())
                ready = await stub.Check(health_pb2.HealthCheckRequest(service=ROLLOUTS))
            except grpc.aio.AioRpcError:
                return False
            return (live.status, ready.status) == (SERVING, NOT_SERVING)

    await eventually(alive)
    assert not serving.done()
    stop.set()
    await serving


async def test_what_no_service_knows_is_unknown_once_it_has_started() -> None:
    async with local_service() as service, open_channel(service.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/treeroll.v1.Rollouts/Nonsense")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_service_that_stops_is_not_ready_again() -> None:
    config = ServiceConfig(coordinator=CoordinatorConfig(port=0))
    tokenizer = Tokenizer.load(config.generator.model)
    store = MemoryStore()
    coordinator = make_coordinator(config, tokenizer, store, None, await store.open(), Scoring(InlineScorers(), {}))
    readiness = Readiness()
    readiness.follow(coordinator)
    coordinator.state.pools[""].add(Replica("r0", 1, 4, 32, 1024, heard_at=0.0))
    readiness.look()
    await asyncio.sleep(0)
    asked = health_pb2.HealthCheckRequest(service=ROLLOUTS)
    assert (await readiness._answers.Check(asked, None)).status == SERVING
    readiness.stop()
    readiness.look()
    await asyncio.sleep(0)
    assert (await readiness._answers.Check(asked, None)).status == NOT_SERVING
