"""What fleets say to the coordinator: deaths count at once, for the process that died alone, and plans are known."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.support.access import Credentials
from tests.support.eventually import eventually

from treeroll import __version__, clock
from treeroll.channels import Pass
from treeroll.cli.main import app
from treeroll.client import AsyncClient, connect_async
from treeroll.config import CoordinatorConfig
from treeroll.coordinator import fleet_plane
from treeroll.core.model.events import LossKind
from treeroll.errors import InvalidInput
from treeroll.generator.fleet_link import FarCoordinator, FleetLink, NoAnswer
from treeroll.generator.session import SessionRefused, Unfit
from treeroll.pb.v1 import fleet_pb2 as wire
from treeroll.pb.v1 import fleet_pb2_grpc
from treeroll.testing.service import LocalService, local_service


@asynccontextmanager
async def linked(service: LocalService, name: str = "", **kept: int) -> AsyncIterator[FleetLink]:
    """A fleet that says to keep so many replicas of each pool; '_' is the one without a name."""
    link = FleetLink(FarCoordinator(service.address, Pass()), name)
    link.kept = lambda: {pool.strip("_"): count for pool, count in kept.items()}
    link.restarts = lambda: {"r0": 3}
    task = asyncio.create_task(link.run())
    try:
        await asyncio.wait_for(link.heard.wait(), 300)
        yield link
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def starting(client: AsyncClient) -> int | None:
    """Replicas that somebody is about to start for a run."""
    return (await (await client.run("run")).status()).replicas_starting


async def test_a_death_counts_at_once_and_for_no_other_process() -> None:
    async with local_service() as service, linked(service, _=1) as link:
        service.start_replica("r0")
        await service.joined()
        process = service.replicas.sessions["r0"].hello.process
        link.lose("r0", process + 1, "another one died")

        async def told() -> bool:
            return not link._lost

        await eventually(told)
        assert "r0" in service.coordinator.state.replicas
        link.lose("r0", process, "its process died")

        async def lost() -> bool:
            return service.replicas.sessions["r0"].lost == "its process died"

        await eventually(lost)


async def test_a_fleet_learns_which_incarnations_are_used_and_status_its_restarts() -> None:
    async with local_service() as service:
        service.start_replica("r0", incarnation=5)
        await service.joined()
        async with linked(service, _=1) as link, await connect_async(service.address) as client:
            assert link.newest("r0") == 5
            assert link.newest("r1") == 0
            assert [replica.restarts for replica in (await client.status()).replicas] == [3]


async def test_what_is_about_to_start_is_known_until_the_fleet_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    patient = CoordinatorConfig(port=0, heartbeat_s=60.0, lease_s=600.0)
    async with local_service(coordinator=patient) as service, await connect_async(service.address) as client:
        await client.create_run("run", recipe="flat")
        assert await starting(client) is None
        async with linked(service, "a", _=2), linked(service, "b", _=3):
            assert await starting(client) == 5
        assert await starting(client) == 5  # nobody has said anything else yet
        monkeypatch.setattr(fleet_plane, "FORGOTTEN_TURNS", 0.0)
        assert service.life.fleets.kept("") is None


async def test_a_fleet_is_not_forgotten_because_the_coordinator_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    async with local_service() as service, linked(service, _=2):
        with monkeypatch.context() as patch:
            patch.setattr(clock, "_monotonic", lambda: 1e12)  # thousands of years later
            assert service.life.fleets.kept("") == 2


async def test_a_fleet_that_says_goodbye_is_not_waited_for() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        await client.create_run("run", recipe="flat")
        async with linked(service, _=2) as link:
            pass
        await link.say_goodbye()
        assert await starting(client) is None


async def test_a_goodbye_that_nobody_answers_is_said_again() -> None:
    answers = [wire.FleetAnswer(report_s=1000.0), NoAnswer("the coordinator is busy"), wire.FleetAnswer()]
    said: list[wire.FleetReport] = []

    async def exchange(report: wire.FleetReport) -> wire.FleetAnswer:
        said.append(report)
        if isinstance(answer := answers.pop(0), NoAnswer):
            raise answer
        return answer

    link = FleetLink(exchange, "east")
    link.kept = lambda: {"": 1}
    running = asyncio.create_task(link.run())
    await link.heard.wait()
    running.cancel()
    await asyncio.wait({running})
    link.lose("r0", 7, "its fleet was stopped")
    await link.say_goodbye()
    assert [(dict(report.kept), [one.process for one in report.lost]) for report in said] == [
        ({"": 1}, []),
        ({}, [7]),
        ({}, [7]),
    ]


async def test_a_fleet_whose_replicas_are_all_given_up_says_so() -> None:
    async with local_service() as service, linked(service, _=0), await connect_async(service.address) as client:
        run = await client.create_run("run", recipe="flat")
        await run.submit([{"id": "a", "prompt": "1+1"}])
        assert (await run.status()).stuck == "no replica is left, and none is started"


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Credentials(tmp_path)


async def test_a_fleet_with_a_token_that_is_not_for_its_replicas_is_refused(credentials: Credentials) -> None:
    credentials.token("operator", "ops")
    async with local_service(access=credentials.config()) as service:
        shown = Pass(credentials.token("replica", "b", "replicas=b-"))
        link = FleetLink(FarCoordinator(service.address, shown), "")
        link.restarts = lambda: {"r0": 0}
        with pytest.raises(SessionRefused, match="is not for replica 'r0'"):
            await asyncio.wait_for(link.run(), 300)


async def test_a_fleet_of_another_minor_version_is_refused_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("treeroll.generator.fleet_link.__version__", "0.9.0")
    async with local_service() as service:
        link = FleetLink(FarCoordinator(service.address, Pass()), "east")
        said = rf"fleet 'east' has treeroll 0.9.0, the service has {__version__}: install"
        with pytest.raises(Unfit, match=said) as refused:
            await asyncio.wait_for(link.run(), 300)
        assert isinstance(refused.value, InvalidInput)  # bad input, by its exit code


async def test_nonsense_is_refused() -> None:
    async with local_service() as service:
        link = FleetLink(FarCoordinator(service.address, Pass()), "no name\n")
        with pytest.raises(SessionRefused, match="the name of a fleet"):
            await asyncio.wait_for(link.run(), 300)
        async with Pass().open(service.address) as channel:
            report = wire.FleetReport(kept={"no pool": 2**31}, version=__version__)
            await fleet_pb2_grpc.FleetPlaneStub(channel).Report(report)


@pytest.mark.parametrize(
    ("cause", "end", "kind"),
    [
        ("its node was taken away", wire.PROCESS_END_PREEMPTED, LossKind.PREEMPTED),
        ("its fleet was stopped", wire.PROCESS_END_STOPPED, LossKind.LEFT),
    ],
)
async def test_a_process_that_went_with_its_node_or_with_its_fleet_is_no_loss(
    cause: str, end: wire.ProcessEnd, kind: LossKind
) -> None:
    async with local_service() as service, linked(service, _=1) as link:
        service.start_replica("r0")
        await service.joined()
        link.lose("r0", service.replicas.sessions["r0"].hello.process, cause, end)
        state = service.coordinator.state

        async def gone() -> bool:
            return "r0" not in state.replicas

        await eventually(gone)
        assert state.pools[""].ends == {kind: 1}

        async def told() -> bool:
            return service.replicas.sessions["r0"].lost == cause

        await eventually(told)
        assert service.coordinator.figures.losses == {}


async def test_who_waits_for_a_node_is_in_the_status_with_the_reason() -> None:
    async with local_service() as service, linked(service, _=1) as link, await connect_async(service.address) as client:
        why = "it needs 8 GPU on one node, and none is so large: the cluster has 2 nodes with 64 CPU (64 free)"
        link.not_scheduled = lambda: [
            wire.NotScheduled(replica_id=name, pool=pool, why=why)
            for name, pool in (("r0", ""), ("r1", ""), ("x", "x"))
        ]
        link.wake()

        async def told() -> bool:
            return (await client.status()).pools[0].not_scheduled == 2

        await eventually(told)
        assert (await client.status()).pools[0].not_scheduled_because == f"replica r0 is not scheduled: {why}"
        assert await asyncio.to_thread(app.run, ["status", "--address", service.address]) == 0
