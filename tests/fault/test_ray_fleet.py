"""A fleet as a process of its own, on a private Ray: its service imports no Ray, and hears of deaths at once."""

import asyncio
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.command import Command
from tests.support.eventually import eventually
from tests.support.ports import free_port

from treeroll.client import connect_async
from treeroll.demo import TASKS_FILE
from treeroll.tasks import read_tasks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]

START_S = 240.0
TASKS = 12
RUN: dict[str, Any] = {"recipe": "flat", "leaves": 4, "segment_tokens": 8, "max_depth": 10, "scorer": "arith"}
READY = "all replicas are ready"


def maps_ray(pid: int) -> bool:
    """Whether a process has loaded Ray's library."""
    return "/ray/_raylet" in Path(f"/proc/{pid}/maps").read_text()


async def test_a_service_grows_by_a_fleet_whose_replica_dies(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    tasks = list(read_tasks(TASKS_FILE, limit=TASKS))
    with ExitStack() as stack:
        # A lease that does not end within the test: who lost a replica is told, or it waits for ever.
        patient = ("--set", "coordinator.lease_s=3000", "--set", "coordinator.heartbeat_s=0.5")
        where = ("--engine", "none", "--store", "memory", "--port", address.rpartition(":")[2])
        service = stack.enter_context(Command(["serve", *where, *patient], tmp_path / "serve.log"))
        asked = ("--address", address, "--name", "east", "--engine", "simulated", "--replicas", "2")
        fleet = stack.enter_context(Command(["fleet", *asked], tmp_path / "fleet.log"))
        await asyncio.to_thread(fleet.until, lambda: READY in fleet.output(), START_S)
        assert not maps_ray(service.process.pid)
        assert maps_ray(fleet.process.pid)
        async with await connect_async(address) as client:
            run = await client.create_run("run", **RUN)
            assert (await run.status()).replicas_starting == 0
            await run.submit(tasks)
            await run.close()
            batches = run.batches(trees=1)
            got = [(await anext(batches)).trees[0].task_id]
            os.kill(replicas_of(fleet)[0], signal.SIGKILL)
            got += [tree.task_id async for batch in batches for tree in batch.trees]
            assert sorted(got) == sorted(task.id for task in tasks)

            async def again() -> bool:
                replicas = (await client.status()).replicas
                return sum(one.restarts for one in replicas) > 0 and {one.state for one in replicas} == {"ready"}

            await eventually(again, START_S)
            names = {replica.replica_id for replica in (await client.status()).replicas}
            assert names == {"east-r0", "east-r1"}
            assert (await client.audit()).violations == []
            fleet.interrupt()
            assert await asyncio.to_thread(fleet.wait, 60) == 0
            fleet.assert_gone()

            async def lost() -> bool:
                return {replica.state for replica in (await client.status()).replicas} == {"lost"}

            await eventually(lost)


def replicas_of(fleet: Command) -> list[int]:
    """Processes of its replicas."""
    return [pid for pid, command in fleet.family().items() if "GeneratorReplica" in command]


def test_a_fleet_that_may_be_of_a_cluster_starts_no_private_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    for number, command in enumerate((["fleet"], ["serve", "--engine", "simulated", "--port", "0"])):
        with Command(command, tmp_path / f"{number}.log") as asked:
            assert asked.wait() == 2
            assert asked.output().count("\n") == 1
            assert "ray.address" in asked.output()
