"""Replicas as processes of their own, without Ray: they find their coordinator, die, come back, and it moves."""

import asyncio
import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.command import Command
from tests.support.ports import free_port

from treeroll.client import connect_async
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.store.embedded import EmbeddedRedis
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service
from treeroll.weights.model_digest import model_digest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TASKS = 12
RUN: dict[str, Any] = {"recipe": "flat", "leaves": 4, "segment_tokens": 8, "max_depth": 10, "scorer": "arith"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


async def test_a_service_without_ray_grows_by_replicas_that_die_and_follow_it_to_another_address(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    ports = free_port(), free_port()
    addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
    tasks = list(read_tasks(TASKS_FILE, limit=TASKS))

    def serve(port: int) -> Command:
        where = ("--engine", "none", "--store", server.url, "--port", str(port), "--set", "dashboard.port=off")
        return Command(["serve", *where], tmp_path / f"serve-{port}.log")

    def replica(name: str, log: str) -> Command:
        ready = ("--ready-file", str(tmp_path / f"{name}.ready"))
        return Command(
            ["replica", "--address", addresses, "--name", name, "--engine", "simulated", *ready], tmp_path / log
        )

    def joined(one: Command) -> bool:
        return "works for" in one.output()

    with ExitStack() as stack:
        first = stack.enter_context(serve(ports[0]))
        a, b = (stack.enter_context(replica(name, f"{name}.log")) for name in ("a", "b"))
        for one in (a, b):
            await asyncio.to_thread(one.until, lambda one=one: joined(one))
        assert all((tmp_path / f"{name}.ready").exists() for name in "ab")
        assert not any("raylet" in command or "gcs_server" in command for command in first.family().values())
        async with await connect_async(addresses) as client:
            run = await client.create_run("run", **RUN)
            await run.submit(tasks)
            await run.close()
            batches = run.batches(trees=1)
            got = [(await anext(batches)).trees[0].task_id]
            a.process.kill()
            a = stack.enter_context(replica("a", "a-again.log"))
            await asyncio.to_thread(a.until, lambda: joined(a) or not (tmp_path / "a.ready").exists())
            first.process.kill()
            stack.enter_context(serve(ports[1]))
            got += [tree.task_id async for batch in batches for tree in batch.trees]
            assert sorted(got) == sorted(task.id for task in tasks)
            await asyncio.to_thread(a.until, lambda: joined(a))
            replicas = (await client.status()).replicas
            assert {replica.replica_id: replica.state for replica in replicas} == {"a": "ready", "b": "ready"}
            assert (await client.audit()).violations == []
        assert b.process.poll() is None
        for one in (a, b):
            one.interrupt()
            assert await asyncio.to_thread(one.wait, 30) == 0


def another_model(place: Path) -> Path:
    """That one can take for the demo model: the same tokenizer, shapes and weights."""
    other = Path(shutil.copytree(MODEL_DIR, place / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "rope_theta": 1.0}))
    return other


async def test_a_replica_with_another_model_ends_as_bad_input_and_one_with_a_copy_works(tmp_path: Path) -> None:
    copy, other = shutil.copytree(MODEL_DIR, tmp_path / "copy"), another_model(tmp_path)
    with ExitStack() as stack:
        async with local_service() as service:

            def replica(name: str, model: Path) -> Command:
                asked = ("--address", service.address, "--name", name, "--engine", "simulated", "--model", str(model))
                return stack.enter_context(Command(["replica", *asked], tmp_path / f"{name}.log"))

            for name, model in (("a", MODEL_DIR), ("b", copy)):
                one = replica(name, model)
                await asyncio.to_thread(one.until, lambda one=one: "works for" in one.output())
            odd = replica("c", other)
            assert await asyncio.to_thread(odd.wait) == 2
            said, host = odd.output().splitlines()[-1], socket.gethostname()
            assert (
                f"replica c on {host} serves {other} with digest {model_digest(other)}, but the fleet has {MODEL_DIR} "
                f"with digest {model_digest(MODEL_DIR)}, as replica a on {host}: copy the same model to both"
            ) in said
            assert "Traceback" not in odd.output()
