"""Two real `treeroll serve --standby` on one Redis: one serves, and when that is silent the other one does."""

import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from tests.support.command import Command
from tests.support.eventually import eventually
from tests.support.ports import free_port

from treeroll.channels import open_channel
from treeroll.cli.main import app
from treeroll.client import connect_async
from treeroll.coordinator.readiness import AVAILABLE, NOT_SERVING, ROLLOUTS, SERVING
from treeroll.coordinator.standby import SILENCE_S
from treeroll.store.embedded import EmbeddedRedis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

RUN = {"recipe": "flat", "leaves": 2}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


class Services:
    """Services of one store, each with a log of its own."""

    def __init__(self, server: EmbeddedRedis, place: Path, stack: ExitStack) -> None:
        self.store, self._place, self._stack = server.url, place, stack

    def start(self, name: str, port: int, *, standby: bool = True) -> Command:
        settings = ("generator.engine=none", "dashboard.port=off", f"coordinator.temp_dir={self._place}")
        chosen = [part for setting in settings for part in ("--set", setting)]
        command = Command(
            ["serve", *(["--standby"] if standby else []), "--store", self.store, "--port", str(port), *chosen],
            self._place / f"{name}.log",
        )
        return self._stack.enter_context(command)


@pytest.fixture
def services(server: EmbeddedRedis) -> Iterator[Services]:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="t-")))
        yield Services(server, place, stack)


@asynccontextmanager
async def a_pair(services: Services, *ports: int) -> AsyncIterator[tuple[Command, Command, str, str]]:
    """One that serves and one that stands by for it, and their addresses. Which is which they find out themselves."""
    started = [(services.start(f"service{number}", port), f"127.0.0.1:{port}") for number, port in enumerate(ports)]
    pair = [command for command, _ in started]
    await until(pair[0], lambda: any(map(serves, pair)))
    (one, address), (other, other_address) = sorted(started, key=lambda service: not serves(service[0]))
    waiting = "answers nobody" if address == other_address else f"stands by for process {one.process.pid} on "
    await until(other, lambda: waiting in other.output())
    yield one, other, address, other_address


def serves(command: Command) -> bool:
    return "treeroll serves at " in command.output()


async def until(command: Command, check: Callable[[], bool]) -> None:
    await asyncio.to_thread(command.until, check)


async def health(address: str, name: str) -> int:
    async with open_channel(address) as channel:
        return int((await HealthStub(channel).Check(HealthCheckRequest(service=name))).status)


async def ends_and_names(one: Command, other: Command) -> None:
    """The old owner has written nothing: it says who has the store."""
    assert await asyncio.to_thread(one.wait) == 1
    assert f"belongs to epoch 2, of process {other.process.pid} on " in one.output().splitlines()[-1]
    assert "Traceback" not in one.output()


async def test_one_that_stands_by_is_alive_and_not_ready_and_says_for_whom(
    services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_pair(services, free_port(), free_port()) as (one, other, _, address):
        assert (await health(address, ""), await health(address, ROLLOUTS)) == (SERVING, NOT_SERVING)
        assert await health(address, AVAILABLE) == SERVING
        assert await asyncio.to_thread(app.run, ["status", "--address", address]) == 0
        assert f"{address}: this service stands by for process {one.process.pid} on " in capsys.readouterr().out
        assert await asyncio.to_thread(app.run, ["status", "--address", address, "--json"]) == 0
        assert "(epoch 1) and was heard " in json.loads(capsys.readouterr().out)["standby"]
        other.process.terminate()
        assert await asyncio.to_thread(other.wait) == 0


async def test_a_second_service_that_is_not_to_stand_by_is_refused_while_the_first_lives(services: Services) -> None:
    first = services.start("first", free_port(), standby=False)
    await until(first, lambda: serves(first))
    second = services.start("second", free_port(), standby=False)
    assert await asyncio.to_thread(second.wait) == 2
    said = second.output().splitlines()[-1]
    assert said.startswith(f"error: {services.store} has an owner that lives, process {first.process.pid} on ")
    assert "Traceback" not in second.output()
    assert first.process.poll() is None
    first.process.kill()
    third = services.start("third", free_port(), standby=False)
    await until(third, lambda: serves(third))
    assert f"process {first.process.pid} on " in third.output()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_clients_go_on_where_the_store_is_served_when_its_owner_is_killed_or_stands_still(
    services: Services, number: signal.Signals
) -> None:
    async with a_pair(services, free_port(), free_port()) as (one, other, *addresses):
        async with await connect_async(",".join(reversed(addresses))) as client:
            run = await client.create_run("run", **RUN)
            await run.submit([{"id": "before", "prompt": "1+1"}])
            assert (await client.status()).epoch == 1
            os.kill(one.process.pid, number)
            await run.submit([{"id": "after", "prompt": "2+2"}])
            status = await client.status()
            assert (status.epoch, status.waiting_tasks) == (2, 2)
            assert (await run.status()).submitted == 2
        if number is signal.SIGSTOP:
            os.kill(one.process.pid, signal.SIGCONT)
            await ends_and_names(one, other)


async def test_one_may_stand_by_at_the_owners_own_address(services: Services) -> None:
    port = free_port()
    async with a_pair(services, port, port) as (one, other, address, _):
        async with await connect_async(address) as client:
            await client.create_run("first", **RUN)
            os.kill(one.process.pid, signal.SIGKILL)
            await client.create_run("second", **RUN)
            assert (await client.status()).epoch == 2
        assert f"takes {services.store} over from process {one.process.pid} on " in other.output()


@pytest.mark.timing
async def test_a_killed_owner_is_missed_for_its_silence_and_little_more(services: Services) -> None:
    async with (
        a_pair(services, free_port(), free_port()) as (one, _, *addresses),
        await connect_async(",".join(addresses)) as client,
    ):
        await client.create_run("first", **RUN)
        began = time.monotonic()
        os.kill(one.process.pid, signal.SIGKILL)

        async def answers() -> bool:
            return (await client.status()).epoch == 2

        await eventually(answers)
        took_s = time.monotonic() - began
    print(f"kill -9 of the owner to the first answer of the other: {took_s:.1f} s, {SILENCE_S:g} s of it silence")
    assert took_s < 2 * SILENCE_S
