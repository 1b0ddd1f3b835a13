"""A supervisor over actors that are none: who waits for a node, who leaves one, and when the fleet is ready."""

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.eventually import eventually

from treeroll import clock
from treeroll.generator import ray_watch
from treeroll.generator import supervisor as module
from treeroll.generator.cause import Cause
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.ray_config import HeadGone
from treeroll.generator.ray_room import Needs
from treeroll.generator.supervisor import Supervisor, _Life


def method(answer: Callable[[], "asyncio.Future[Any]"]) -> Any:
    """Of an actor: what it returns is awaited, or waited for as a future."""

    class Awaitable:
        def __init__(self, future: "asyncio.Future[Any]") -> None:
            self.as_future = lambda: future
            self._future = future

        def __await__(self) -> Any:
            return self._future.__await__()

    return SimpleNamespace(remote=lambda: Awaitable(answer()))


def done(value: Any) -> "asyncio.Future[Any]":
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


class Actors:
    """Places for replicas on `nodes`: one that has none there is not begun."""

    def __init__(self) -> None:
        self.begun: dict[str, asyncio.Future[Any]] = {}
        self.ends: dict[str, asyncio.Future[Any]] = {}
        self.missing = ""
        self.killed: list[Any] = []

    def make(self, name: str) -> Any:
        loop = asyncio.get_running_loop()
        node, end = self.begun.setdefault(name, loop.create_future()), loop.create_future()
        self.ends[name] = end
        return SimpleNamespace(
            node=method(lambda: asyncio.ensure_future(asyncio.shield(node))),
            health=method(lambda: done(True)),
            serve=method(lambda: end),
            trouble=method(lambda: done("nothing")),
        )

    def place(self, name: str, node: str) -> None:
        self.begun.setdefault(name, asyncio.get_running_loop().create_future()).set_result(node)


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> Actors:
    made = Actors()

    def create(self: Supervisor, seat: Any, incarnation: int) -> _Life:
        self.processes[seat.replica_id] = hash((seat.replica_id, incarnation))
        self.actors[seat.replica_id] = actor = made.make(seat.replica_id)
        return _Life(seat, incarnation, actor, Needs(1, 0))

    monkeypatch.setattr(Supervisor, "_create", create)
    monkeypatch.setattr(module.ray, "kill", made.killed.append)
    monkeypatch.setattr(module, "missing_for", lambda actor, needs: made.missing)
    monkeypatch.setattr(module, "KILL_TIMEOUT_S", 0.01)
    monkeypatch.setattr(module, "PLACED_S", 0.02)
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "NOTICED_S", 0.02)
    return made


async def test_one_without_a_place_waits_and_the_fleet_is_ready_when_enough_are(actors: Actors) -> None:
    lost: list[tuple[str, int, Cause]] = []
    config = GeneratorConfig(replicas=2, ready_replicas=1, start_timeout_s=300)
    supervisor = Supervisor(config, "127.0.0.1:1", lambda *who: lost.append(who))
    told = asyncio.Event()
    supervisor.on_change = told.set
    actors.missing = "it needs 1 CPU on one node, and there is none"
    task = asyncio.create_task(supervisor.run())
    actors.place("r0", "n0")
    await asyncio.wait_for(supervisor.wait_ready(), 300)
    await asyncio.wait_for(told.wait(), 300)

    async def waits() -> bool:
        return supervisor.roster.seats["r1"].unplaced == actors.missing

    await eventually(waits)
    assert supervisor.roster.seats["r0"].unplaced == ""
    actors.missing = ""  # it has a node, and begins there
    actors.place("r1", "n1")

    async def both() -> bool:
        return supervisor.roster.ready == 2 and supervisor.roster.seats["r1"].unplaced == ""

    await eventually(both)
    assert supervisor.nodes == {"r0": "n0", "r1": "n1"}
    await supervisor.stop()
    await task
    assert lost == []


async def test_one_that_has_a_node_and_does_not_begin_is_given_up(actors: Actors) -> None:
    supervisor = Supervisor(GeneratorConfig(start_timeout_s=0.1), "127.0.0.1:1", lambda *who: None)
    with pytest.raises(Exception, match=r"replica r0 cannot start: it was not ready within 0.1 s"):
        await asyncio.wait_for(supervisor.run(), 300)


async def test_nodes_that_are_taken_away_are_left_before_that_and_others_begin_at_once(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving: dict[str, float | None] = {}
    monkeypatch.setattr(ray_watch, "draining_nodes", lambda: leaving)
    supervisor = Supervisor(GeneratorConfig(replicas=2), "127.0.0.1:1", lambda *who: None)
    supervisor.cluster = True
    task = asyncio.create_task(supervisor.run())
    for name, node in (("r0", "n0"), ("r1", "n1"), ("r2", "n1")):
        actors.place(name, node)
    await asyncio.wait_for(supervisor.wait_ready(), 300)
    leaving["n0"] = clock.wall() + 3600.0

    async def left() -> bool:
        return "r2" in supervisor.roster.seats and supervisor.roster.ready == 2

    await eventually(left)
    seat = supervisor.roster.seats["r0"]
    assert (seat.cause, seat.ready) == ("its node is taken away", True)
    assert 3000.0 < seat.left_s < 3595.0
    actors.ends["r0"].set_result(None)  # what it ran has ended

    async def gone() -> bool:
        return set(supervisor.roster.seats) == {"r1", "r2"}

    await eventually(gone)
    await supervisor.stop()
    await task


async def test_a_fleet_lives_on_where_ray_says_nothing_of_its_nodes(
    actors: Actors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nothing() -> dict[str, float | None]:
        raise AttributeError("Ray has another way now")

    monkeypatch.setattr(ray_watch, "draining_nodes", nothing)
    supervisor = Supervisor(GeneratorConfig(), "127.0.0.1:1", lambda *who: None)
    supervisor.cluster = True
    task = asyncio.create_task(supervisor.run())
    actors.place("r0", "n0")
    await asyncio.wait_for(supervisor.wait_ready(), 300)

    async def told() -> bool:
        return "Ray has another way now" in caplog.text

    await eventually(told)
    assert supervisor.roster.ready == 1
    await supervisor.stop()
    await task


async def test_a_fleet_whose_cluster_has_no_head_ends_in_time_and_leaves_its_replicas(
    actors: Actors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    back = threading.Event()

    def waits() -> dict[str, float | None]:
        back.wait()
        return {}

    monkeypatch.setattr(ray_watch, "draining_nodes", waits)
    monkeypatch.setattr(ray_watch, "SAY_S", 0.01)
    monkeypatch.setenv(ray_watch.RAYS_PATIENCE, "0.1")
    supervisor = Supervisor(GeneratorConfig(), "127.0.0.1:1", lambda *who: None)
    supervisor.cluster = True
    actors.place("r0", "n0")
    with pytest.raises(HeadGone, match="the head of the Ray cluster has not answered for 0 s: start the fleet again"):
        await asyncio.wait_for(supervisor.run(), 300)
    assert "does not answer: replicas work on" in caplog.text
    assert actors.killed == []
    back.set()


async def test_a_fleet_waits_for_a_head_that_comes_back(
    actors: Actors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    back = threading.Event()

    def waits() -> dict[str, float | None]:
        back.wait()
        return {}

    monkeypatch.setattr(ray_watch, "draining_nodes", waits)
    monkeypatch.setattr(ray_watch, "SAY_S", 0.01)
    supervisor = Supervisor(GeneratorConfig(), "127.0.0.1:1", lambda *who: None)
    supervisor.cluster = True
    actors.place("r0", "n0")
    task = asyncio.create_task(supervisor.run())

    async def said() -> bool:
        return "does not answer" in caplog.text

    await eventually(said)
    back.set()

    async def answered() -> bool:
        return "answers again" in caplog.text

    await eventually(answered)
    assert supervisor.roster.ready == 1
    await supervisor.stop()
    await task
