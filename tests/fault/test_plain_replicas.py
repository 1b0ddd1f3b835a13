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
from tests.support.eventually import eventually
from tests.support.ports import free_port

from treeroll.client import connect_async
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.replica import Replica
from treeroll.generator.session import SessionRefused
from treeroll.generator.simulated_engine import SimulatedEngine
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

            async def both_are_back() -> bool:
                replicas = (await client.status()).replicas
                return {replica.replica_id: replica.state for replica in replicas} == {"a": "ready", "b": "ready"}

            await eventually(both_are_back)
            assert (await client.audit()).violations == []
        assert b.process.poll() is None
        for one in (a, b):
            one.interrupt()
            assert await asyncio.to_thread(one.wait) == 0


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


async def test_a_run_is_grown_by_one_model_whatever_comes_first_after_the_service_and_its_replicas_were_killed(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    port, other = free_port(), another_model(tmp_path)
    address, tasks = f"127.0.0.1:{port}", list(read_tasks(TASKS_FILE, limit=TASKS))

    def replica(name: str, model: Path, step_s: float = 0.0) -> "asyncio.Task[None]":
        detokenizer, latency = Detokenizer(MODEL_DIR), SimulatedLatency(step_s=step_s)
        engine = SimulatedEngine(detokenizer.tokenizer, model=str(model), slots=8, max_model_len=1024, latency=latency)
        return asyncio.create_task(Replica(engine, detokenizer, name, 1, address).run())

    with ExitStack() as stack:

        def serve(log: str) -> Command:
            where = ("--engine", "none", "--store", server.url, "--port", str(port), "--set", "dashboard.port=off")
            return stack.enter_context(Command(["serve", *where], tmp_path / log))

        first = serve("first.log")
        await asyncio.to_thread(first.until, lambda: "treeroll serves at" in first.output())
        async with await connect_async(address) as client:
            ours = replica("a", MODEL_DIR, step_s=0.05)
            run = await client.create_run("run", **RUN)
            await run.submit(tasks)
            await run.close()
            batches = run.batches(trees=1)
            got = [(await anext(batches)).trees[0]]
            first.process.kill()
            ours.cancel()
            second, host = serve("second.log"), socket.gethostname()
            await asyncio.to_thread(second.until, lambda: "treeroll serves at" in second.output())
            with pytest.raises(SessionRefused) as refused:
                await replica("odd", other)
            known, told = (f"{model} with digest {model_digest(model)}" for model in (MODEL_DIR, other))
            said = (
                f"replica odd on {host} serves {told}, but the fleet has {known}, as replica a on {host} said, which "
            )
            end = (
                "run 'run' grows with: start replicas with that model, or cancel or delete this run to have another one"
            )
            assert said + end in str(refused.value)
            last = replica("b", MODEL_DIR)
            got += [tree async for batch in batches for tree in batch.trees]
            assert sorted(tree.task_id for tree in got) == sorted(task.id for task in tasks)
            assert {node.replica_id for tree in got for node in tree.nodes} == {"", "a", "b"}
            assert (await client.audit()).violations == []
            last.cancel()
            await asyncio.gather(ours, last, return_exceptions=True)
