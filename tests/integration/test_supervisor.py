"""Replicas as Ray actors under a supervisor, with the simulated engine: start, death, silence, crash loops, stop."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.eventually import eventually
from tests.support.fake_coordinator import FakeCoordinator
from tests.support.ports import free_port

from treeroll.demo import MODEL_DIR
from treeroll.errors import EngineError, InvalidInput, Unavailable
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.ray_local import LocalRay
from treeroll.generator.supervisor import Supervisor
from treeroll.pb.v1 import replica_pb2 as wire

if TYPE_CHECKING:
    from treeroll.generator.cause import Cause  # imports Ray, which reads what ray_local sets before

PROMPT = [40, 84, 82]
BOUNDARIES = [33, 65]


@pytest.fixture(scope="module", autouse=True)
def ray_cluster() -> Iterator[None]:
    with LocalRay(2):
        yield


class Lost(list[tuple[str, int]]):
    """What on_lost was called with."""

    def __call__(self, replica_id: str, incarnation: int, cause: "Cause") -> None:
        assert cause.sentence
        self.append((replica_id, incarnation))


@asynccontextmanager
async def supervised(coordinator: FakeCoordinator, lost: Lost, **settings: Any) -> AsyncIterator[Supervisor]:
    """A running supervisor of simulated replicas, all ready."""
    supervisor = Supervisor(GeneratorConfig(engine="simulated", **settings), coordinator.address, lost)
    task = asyncio.create_task(supervisor.run())
    try:
        await asyncio.wait_for(supervisor.wait_ready(), 300)
        yield supervisor
    finally:
        await supervisor.stop()
        await task


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def gone(pid: int) -> None:
    async def checked() -> bool:
        return not is_alive(pid)

    await eventually(checked)


async def test_replicas_introduce_themselves_work_and_go_when_stopped() -> None:
    lost = Lost()
    async with FakeCoordinator() as coordinator:
        async with supervised(coordinator, lost, replicas=2) as supervisor:
            assert {hello.replica_id for hello in coordinator.hellos} == {"r0", "r1"}
            grants = [coordinator.start(replica, PROMPT, BOUNDARIES, ignore_eos=True) for replica in ("r0", "r1")]
            for told in await coordinator.ended(*grants):
                assert told.sizes == [30, 32]
            pids = [await actor.pid.remote() for actor in supervisor.actors.values()]
        for pid in pids:
            await gone(pid)
    assert lost == []
    assert supervisor.failure is None


async def test_a_killed_replica_is_lost_and_comes_back_as_the_next_incarnation() -> None:
    lost = Lost()
    async with FakeCoordinator() as coordinator, supervised(coordinator, lost) as supervisor:
        os.kill(await supervisor.actors["r0"].pid.remote(), signal.SIGKILL)
        await coordinator.hello("r0", 2)
        assert lost == [("r0", 1)]
        assert supervisor.restarts == {"r0": 1}
        await coordinator.ended(coordinator.start("r0", PROMPT, BOUNDARIES))


async def test_a_replica_that_does_not_answer_is_replaced() -> None:
    lost = Lost()
    settings = {"health_interval_s": 0.2, "health_timeout_s": 4.0}
    async with FakeCoordinator() as coordinator, supervised(coordinator, lost, **settings) as supervisor:
        pid = await supervisor.actors["r0"].pid.remote()
        os.kill(pid, signal.SIGSTOP)
        await coordinator.hello("r0", 2)
        assert lost == [("r0", 1)]
        await gone(pid)


async def test_a_replica_that_cannot_start_is_given_up_at_once_with_the_cause(tmp_path: Path) -> None:
    lost = Lost()
    supervisor = Supervisor(GeneratorConfig(engine="simulated", model=tmp_path), "127.0.0.1:1", lost, logs=tmp_path)
    with pytest.raises(InvalidInput, match=r"^replica r0 cannot start: model path .* has no config.json$"):
        await supervisor.run()
    assert supervisor.failure is not None
    assert "Traceback" not in str(supervisor.failure)
    assert lost == [("r0", 1)]
    assert "replica r0 ends" in (tmp_path / "r0-1.log").read_text()


async def test_a_replica_that_cannot_connect_says_so_within_one_start_timeout() -> None:
    address = f"127.0.0.1:{free_port()}"
    lost = Lost()
    supervisor = Supervisor(GeneratorConfig(engine="simulated", start_timeout_s=30), address, lost)
    with pytest.raises(EngineError, match=rf"not ready within 30 s: it could not connect to .*{address}: UNAVAILABLE"):
        await supervisor.run()
    assert lost == [("r0", 1)]


@pytest.mark.parametrize(
    ("code", "kind"),
    [(grpc.StatusCode.INVALID_ARGUMENT, InvalidInput), (grpc.StatusCode.FAILED_PRECONDITION, EngineError)],
)
async def test_a_replica_that_the_coordinator_refuses_is_given_up(code: grpc.StatusCode, kind: type[Exception]) -> None:
    async with FakeCoordinator() as coordinator:
        coordinator.refuse = (code, "the fleet serves another model")
        supervisor = Supervisor(GeneratorConfig(engine="simulated"), coordinator.address, Lost())
        with pytest.raises(kind, match="the fleet serves another model"):
            await supervisor.run()
        with pytest.raises(kind, match="another model"):
            await supervisor.wait_ready()


async def test_one_that_is_drained_has_a_successor_at_once_and_goes_when_it_has_ended() -> None:
    lost = Lost()
    async with FakeCoordinator() as coordinator, supervised(coordinator, lost) as supervisor:
        grant = coordinator.start("r0", PROMPT, BOUNDARIES, ignore_eos=True)
        supervisor.drain("r0", supervisor.processes["r0"] + 1, 60, "of an earlier life", elsewhere=False)
        assert supervisor.roster.seats["r0"].until is None
        supervisor.drain("r0", supervisor.processes["r0"], 60, "its node goes", elsewhere=False)
        await coordinator.hello("r1")
        assert supervisor.roster.kept("") == 1
        assert "r0" in supervisor.actors  # a fleet says so to the coordinator, which tells the replica
        coordinator.send("r0", wire.Commands(draining=wire.Draining(within_s=60, cause="its node goes")))
        await coordinator.ended(grant)

        async def left() -> bool:
            return set(supervisor.roster.seats) == set(supervisor.actors) == {"r1"} and supervisor.roster.ready == 1

        await eventually(left)
        assert lost == []
        # What is wanted no more and serves nobody yet goes at once; a name that is free is used again.
        supervisor.scale("", 2, [], 60)
        assert set(supervisor.roster.seats) == {"r1"}

        async def added() -> bool:
            return set(supervisor.roster.seats) == {"r0", "r1"}

        await eventually(added)
        supervisor.scale("", 1, ["r1", "r0"], 60)
        await eventually(left)
        assert lost == []


async def test_one_that_does_not_end_in_its_time_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treeroll.generator.supervisor.LATE_S", 0.5)
    lost = Lost()
    async with FakeCoordinator() as coordinator, supervised(coordinator, lost) as supervisor:
        pid = await supervisor.actors["r0"].pid.remote()
        supervisor.scale("", 0, [], 0.0)
        await gone(pid)

        async def told() -> bool:
            return lost == [("r0", 1)]

        await eventually(told)
        assert supervisor.roster.seats == {}


async def test_a_cancelled_supervisor_leaves_nothing_behind() -> None:
    async with FakeCoordinator() as coordinator:
        supervisor = Supervisor(GeneratorConfig(engine="simulated"), coordinator.address, Lost())
        task = asyncio.create_task(supervisor.run())
        await asyncio.wait_for(supervisor.wait_ready(), 300)
        pid = await supervisor.actors["r0"].pid.remote()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await gone(pid)
        await supervisor.stop()


def test_the_cluster_needs_a_token() -> None:
    # Not ray.init: it takes a loopback address for that of the machine's network, where our cluster does not listen.
    code = "import ray, sys; ray._raylet.GcsClient(address=sys.argv[1]).get_all_node_info()"
    import ray

    address = ray.get_runtime_context().gcs_address
    stranger = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    asked = [
        subprocess.run(
            [sys.executable, "-c", code, address], capture_output=True, text=True, env=env, timeout=600, check=False
        )
        for env in (stranger, None)
    ]
    assert asked[0].returncode != 0
    assert "AuthenticationError" in asked[0].stderr
    assert asked[1].returncode == 0, asked[1].stderr


async def test_those_on_a_node_that_is_taken_away_end_in_time_and_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Lost()
    async with FakeCoordinator() as coordinator, supervised(coordinator, lost) as supervisor:
        node, at = supervisor.nodes["r0"], time.time() + 3600
        # Ray's own notices need a cluster: tests/cluster. What follows from one is the same.
        monkeypatch.setattr("treeroll.generator.ray_watch.draining_nodes", lambda: {node: at, "another": None})
        monkeypatch.setattr("treeroll.generator.supervisor.NOTICED_S", 0.1)
        supervisor.cluster = True
        watching = asyncio.create_task(supervisor._watch_nodes())
        await coordinator.hello("r1")
        watching.cancel()
        seat = supervisor.roster.seats["r0"]
        assert (seat.cause, seat.preempted) == ("its node is taken away", True)
        before, left, after = at - time.time(), seat.left_s, at - time.time()
        assert after - 6 < left < before - 4  # five seconds before the node


async def test_one_for_which_there_is_no_place_waits_and_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treeroll.generator.supervisor.PLACED_S", 0.5)
    pools = {"small": {"model": MODEL_DIR}, "large": {"model": MODEL_DIR, "ray": {"num_cpus": 1000}}}
    lost = Lost()
    async with FakeCoordinator() as coordinator:
        config = GeneratorConfig.model_validate(
            {"engine": "simulated", "pools": pools, "ready_replicas": 1, "start_timeout_s": 300}
        )
        supervisor = Supervisor(config, coordinator.address, lost)
        task = asyncio.create_task(supervisor.run())
        await asyncio.wait_for(supervisor.wait_ready(), 300)  # one of two is enough
        assert set(supervisor.nodes) == {"small-0"}

        async def told() -> bool:
            return bool(supervisor.roster.seats["large-0"].unplaced)

        await eventually(told)
        assert supervisor.roster.seats["large-0"].unplaced.startswith(
            "it needs 1000 CPU and 0 GPU on one node, and none is so large: the Ray cluster has 1 node with 2 CPU and 0"
        )
        assert supervisor.roster.seats["small-0"].unplaced == ""
        supervisor.scale("large", 0, [], 60)

        async def over() -> bool:
            return set(supervisor.roster.seats) == {"small-0"}

        await eventually(over)
        await supervisor.stop()
        await task
    assert lost == []


@asynccontextmanager
async def kept(coordinator: FakeCoordinator, lost: Lost, alone_s: float = 600.0, **settings: Any) -> AsyncIterator[Any]:
    """A supervisor whose replicas outlive it, and its run."""
    config = GeneratorConfig(engine="simulated", **settings)
    supervisor = Supervisor(config, coordinator.address, lost, kept_as=f"fleet@{coordinator.address}", alone_s=alone_s)
    task = asyncio.create_task(supervisor.run())
    try:
        await asyncio.wait_for(supervisor.wait_ready(), 300)
        yield supervisor, task
    finally:
        await supervisor.stop()
        await asyncio.gather(task, return_exceptions=True)


async def pids_of(supervisor: Supervisor) -> dict[str, int]:
    return {name: await actor.pid.remote() for name, actor in supervisor.actors.items()}


async def test_the_next_of_a_name_has_the_replicas_with_their_work_and_the_one_before_it_ends() -> None:
    lost, successors = Lost(), Lost()
    async with FakeCoordinator() as coordinator, kept(coordinator, lost, replicas=2) as (first, running):
        before, processes = await pids_of(first), dict(first.processes)
        grant = coordinator.start("r0", PROMPT, BOUNDARIES, ignore_eos=True)
        async with kept(coordinator, successors, replicas=2) as (second, _):
            with pytest.raises(Unavailable, match=r"another fleet has taken replica r\d over, under the same name"):
                await asyncio.wait_for(running, 300)
            assert await pids_of(second) == before
            assert second.processes == processes
            assert second.restarts == {"r0": 0, "r1": 0}
            await coordinator.ended(grant)
        for pid in before.values():
            await gone(pid)  # it ended in order, and so did they
    assert lost == successors == []


async def test_what_an_earlier_one_left_with_other_settings_or_more_than_is_wanted_is_drained() -> None:
    async with FakeCoordinator() as coordinator, kept(coordinator, Lost(), replicas=3) as (first, _):
        before = await pids_of(first)
        async with kept(coordinator, Lost(), replicas=1) as (second, _):
            ends = {name: seat.cause for name, seat in second.roster.seats.items()}
            assert sorted(ends.values()) == ["", "its pool shrinks", "its pool shrinks"]
            assert await pids_of(second) == before
            async with kept(coordinator, Lost(), replicas=1, slots=3) as (third, _):
                causes = [seat.cause for seat in third.roster.seats.values()]
                assert sorted(causes) == ["", *["its settings are those of an earlier fleet"] * 3]
                [fresh] = [name for name, seat in third.roster.seats.items() if not seat.cause]
                assert fresh not in before
                assert third.roster.ready == 1


async def test_replicas_that_no_fleet_comes_for_say_goodbye_and_end() -> None:
    lost = Lost()
    async with FakeCoordinator() as coordinator, kept(coordinator, lost, alone_s=5.0) as (supervisor, _):
        [pid] = (await pids_of(supervisor)).values()
        supervisor._leaves = True  # as one that is killed
        await supervisor.stop()
        await gone(pid)
        assert coordinator.goodbyes == ["r0"]
    assert lost == []
