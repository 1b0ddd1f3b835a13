"""`treeroll fleet drain` and `scale`: who ends, who is refused, and what the fleets are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.integration.test_fleets import linked
from tests.support.eventually import eventually
from tests.support.pace import Pace

from treeroll.cli.main import app
from treeroll.client import AsyncClient, connect_async
from treeroll.coordinator import fleet_orders
from treeroll.coordinator.loop import Coordinator
from treeroll.core.model.events import Event, ReplicaDraining, ReplicaLost
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput, Unavailable, UnknownPool
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.fleet_link import FleetLink
from treeroll.generator.seats import Roster
from treeroll.pb.v1 import fleet_pb2 as wire
from treeroll.pb.v1 import replica_pb2
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

RUN: dict[str, Any] = {"recipe": "flat", "leaves": 4, "segment_tokens": 32, "max_depth": 10, "scorer": "arith"}


class Fleet:
    """A fleet of replicas in this process, with the seats of a real one."""

    def __init__(self, service: LocalService, link: FleetLink, replicas: int) -> None:
        self.pace = Pace()
        self.roster = Roster(GeneratorConfig(replicas=replicas).fleet())
        self.orders: list[wire.DrainOrder] = []
        self._service, self._link = service, link
        link.kept = lambda: {"": self.roster.kept("")}
        link.wanted = lambda: self.roster.wanted
        link.restarts = lambda: dict.fromkeys(self.roster.seats, 0)
        link.draining = self._draining
        link.obey = self._obey
        self.fill()

    def fill(self) -> None:
        for seat in self.roster.fill():
            newest = self._service.coordinator.state.incarnations.get(seat.replica_id, 0)
            task = self._service.start_replica(seat.replica_id, newest + 1, slots=4, latency=self.pace)
            seat.ready = True
            task.add_done_callback(lambda _, seat=seat: self.roster.remove(seat))  # type: ignore[misc]

    def _process(self, name: str) -> int:
        return self._service.replicas.sessions[name].hello.process

    def _draining(self) -> list[wire.DrainingReplica]:
        return [
            wire.DrainingReplica(
                replica_id=name,
                process=self._process(name),
                draining=replica_pb2.Draining(within_s=seat.left_s, cause=seat.cause),
            )
            for name, seat in self.roster.seats.items()
            if seat.until is not None and name in self._service.replicas.sessions
        ]

    def _obey(self, answer: wire.FleetAnswer) -> None:
        for order in answer.scale:
            self.roster.scale(order.pool, order.replicas, order.first, order.within_s)
        for drain in answer.drain:
            self.orders.append(drain)
            assert drain.process == self._process(drain.replica_id)
            self.roster.end(self.roster.seats[drain.replica_id], drain.draining.within_s, drain.draining.cause)
        self.fill()
        if answer.scale or answer.drain:
            self._link.wake()


@asynccontextmanager
async def working(replicas: int, tasks: int = 6) -> AsyncIterator[tuple[LocalService, Fleet, AsyncClient]]:
    """A service whose replicas all have branches."""
    async with local_service() as service, linked(service) as link, await connect_async(service.address) as client:
        fleet = Fleet(service, link, replicas)
        await service.joined()
        run = await client.create_run("run", **RUN)
        await run.submit(list(read_tasks(TASKS_FILE, limit=tasks)))
        await run.close()
        state = service.coordinator.state

        async def busy() -> bool:
            told = service.life.fleets.having("") == [""]
            return told and len(state.replicas) == replicas and all(one.grants for one in state.replicas.values())

        await eventually(busy)
        yield service, fleet, client


async def finished(fleet: Fleet, client: AsyncClient, tasks: int = 6) -> None:
    fleet.pace.step_s = 0.0
    run = await client.run("run")
    assert len([tree async for batch in run.batches(trees=1) for tree in batch.trees]) == tasks
    assert (await client.audit()).violations == []


async def test_a_drained_replica_has_a_successor_and_no_tree_is_lost() -> None:
    async with working(2) as (service, fleet, client):
        assert await client.drain_replicas("r0", within_s=600) == (["r0"], [])
        assert await client.drain_replicas("r0", within_s=600) == (["r0"], [])  # said again
        [pool] = (await client.status()).pools
        assert (pool.wanted, pool.draining) == (2, 1)
        assert [(order.replica_id, order.elsewhere) for order in fleet.orders[:1]] == [("r0", False)]
        assert "r2" in fleet.roster.seats
        await finished(fleet, client)

        async def gone() -> bool:
            return set(service.coordinator.state.replicas) == {"r1", "r2"}

        await eventually(gone)


async def test_a_host_is_left_by_all_its_replicas_but_the_last_that_works_only_if_forced() -> None:
    async with working(2) as (service, fleet, client):
        host = (await client.status()).replicas[0].origin.host
        with pytest.raises(InvalidInput, match="without r0 and r1 no replica of the service's pool works"):
            await client.drain_replicas(host)
        with pytest.raises(
            InvalidInput, match="'node-9' is no replica that is here and no host of one: there is r0, r1"
        ):
            await client.drain_replicas("node-9")
        assert fleet.orders == []
        draining, _ = await client.drain_replicas(host, within_s=0.2, force=True)
        assert draining == ["r0", "r1"]
        assert {(order.replica_id, order.elsewhere) for order in fleet.orders} == {("r0", True), ("r1", True)}
        await finished(fleet, client)

        async def both_gone() -> bool:
            return set(service.coordinator.state.replicas) <= {"r2", "r3"}

        await eventually(both_gone)


async def test_a_replica_that_is_lost_while_its_host_is_drained_is_gone_and_the_others_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with working(2) as (service, fleet, client):
        coordinator = service.coordinator
        call, incarnation = Coordinator.call, coordinator.state.replicas["r1"].incarnation

        async def lose_then_call(self: Coordinator, event: Event | None = None, **options: Any) -> None:
            if isinstance(event, ReplicaDraining) and event.replica_id == "r0":
                await call(self, ReplicaLost("r1", incarnation, "its host is switched off"))
            await call(self, event, **options)

        monkeypatch.setattr(Coordinator, "call", lose_then_call)
        assert await client.drain_replicas("r0", "r1", within_s=600, force=True) == (["r0", "r1"], [])
        assert coordinator.state.replicas["r0"].drain is not None
        await finished(fleet, client)


async def test_a_pool_is_scaled_down_by_those_that_have_least_to_do_and_up_again() -> None:
    async with working(3) as (service, fleet, client):
        state = service.coordinator.state
        tokens = {
            name: sum(state.grants[grant][1].total for grant in replica.grants)
            for name, replica in state.replicas.items()
        }
        assert await client.scale(2, within_s=600) == 3
        [first] = [name for name, seat in fleet.roster.seats.items() if seat.until is not None]
        assert tokens[first] <= max(tokens.values())
        assert (await client.status()).pools[0].wanted == 2
        with pytest.raises(InvalidInput, match="trees grow in the service's pool, and would wait"):
            await client.scale(0)
        assert await client.scale(4) == 2
        await finished(fleet, client)
        assert fleet.roster.kept("") == 4


async def test_what_cannot_be_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        with pytest.raises(InvalidInput, match="no fleet has replicas of the service's pool"):
            await client.scale(2)
        with pytest.raises(UnknownPool, match="there is no pool 'large'"):
            await client.scale(2, pool="large")
        with pytest.raises(InvalidInput, match="up to 4096 replicas, not 5000"):
            await client.scale(5000)
        with pytest.raises(InvalidInput, match="no replica and no host is named"):
            await client.drain_replicas()
        with pytest.raises(InvalidInput, match="to end, not nan"):
            await client.drain_replicas("r0", within_s=float("nan"))
        monkeypatch.setattr(fleet_orders, "TAKEN_WITHIN_S", 0.2)
        async with linked(service, "a") as one, linked(service, "b") as other:
            for link in (one, other):
                link.kept = link.wanted = lambda: {"": 1}
                link.wake()

            async def known() -> bool:
                return service.life.fleets.having("") == ["a", "b"]

            await eventually(known)
            with pytest.raises(
                InvalidInput, match="the fleets 'a', 'b' have replicas of the service's pool: say which"
            ):
                await client.scale(2)
            with pytest.raises(InvalidInput, match="no fleet 'c' has replicas of the service's pool: 'a', 'b'"):
                await client.scale(2, fleet="c")
            # A client would ask again for as long as it has time.
            with pytest.raises(Unavailable, match="fleet 'a' has not taken up the order within"):
                await service.life.fleets.orders.scale("a", wire.ScaleOrder(replicas=2))


async def test_a_replica_that_no_fleet_keeps_is_drained_all_the_same() -> None:
    async with local_service() as service, await connect_async(service.address) as client:
        task = service.start_replica("r0")
        await service.joined()
        assert await client.drain_replicas("r0") == (["r0"], ["r0"])
        await asyncio.wait_for(task, 300)


async def test_the_commands_say_what_they_have_done(capsys: pytest.CaptureFixture[str]) -> None:
    async with working(2) as (service, fleet, client):

        async def said(*words: str) -> tuple[int, str]:
            code = await asyncio.to_thread(app.run, ["fleet", *words, "--address", service.address])
            told = capsys.readouterr()
            return code, told.out + told.err

        assert await said("drain", "r1", "--within", "60") == (0, "draining: r1\n")
        code, told = await said("scale", "3")
        assert (code, told) == (0, "the pool is to have 3 replicas, 2 before: treeroll status shows them\n")
        code, told = await said("scale", "many")
        assert code == 2
        assert "[POOL] N, not 'many'" in told
        code, told = await said("drain", "r77")
        assert (code, told.count("\n")) == (2, 1)
        await finished(fleet, client)
