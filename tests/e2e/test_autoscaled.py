"""`treeroll serve` whose pool follows demand, on a real Ray: processes of replicas come with tasks and go with them."""

import os
import signal
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.support.command import Command
from tests.support.eventually import eventually_sync

import treeroll
from treeroll.demo import TASKS_FILE
from treeroll.tasks import read_tasks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# So many are never done with while there is to be demand.
UNFINISHED, MOST = 16, 3
# Of eight slots for each replica; what takes minutes in a service takes seconds here.
SETTINGS = [
    "generator.slots=8",
    "generator.simulated.step_s=0.05",
    f"generator.autoscale.max={MOST}",
    "generator.autoscale.stable_s=4",
    "generator.autoscale.panic_s=2",
    "generator.autoscale.shrink_delay_s=4",
]
RUN: dict[str, Any] = {"recipe": "treepo", "leaves": 8, "scorer": "arith"}


def replicas_of(service: Command) -> list[int]:
    """Processes of its replicas."""
    return [pid for pid, line in service.family().items() if "GeneratorReplica" in line]


class Demand:
    """Tasks of a run, and more of them for as long as replicas take to start: who has little to do asks for none."""

    def __init__(self, run: treeroll.Run) -> None:
        self._run = run
        self._more = read_tasks(TASKS_FILE)
        self.asked = 0

    def keep_up(self) -> None:
        """Submit what is missing."""
        missing = list(islice(self._more, self._run.status().finished + UNFINISHED - self.asked))
        if missing:
            self._run.submit(missing)
        self.asked += len(missing)


def told(tmp_path: Path, *command: str) -> str:
    """What a command of treeroll says."""
    with Command(command, tmp_path / f"{command[0]}.log") as asked:
        assert asked.wait() == 0, asked.output()
        return asked.output()


def options(settings: Sequence[str]) -> list[str]:
    """As the command line takes them."""
    return [word for setting in settings for word in ("--set", setting)]


def test_processes_of_replicas_come_with_tasks_and_go_when_nothing_wants_them(tmp_path: Path) -> None:
    started = ["serve", "--engine", "simulated", "--replicas", "1", "--port", "0", *options(SETTINGS)]
    with Command(started, tmp_path / "serve.log") as service:
        service.until(lambda: "treeroll serves at" in service.output())
        address = service.output().rpartition("treeroll serves at ")[2].split()[0]
        assert len(replicas_of(service)) == 1
        with treeroll.connect(address) as client:
            run = client.create_run("run", **RUN)
            demand = Demand(run)

            def all_are_at_work() -> bool:
                demand.keep_up()
                return sum(one.state == "ready" for one in client.status().replicas) == MOST

            def is_told() -> bool:
                demand.keep_up()
                said = told(tmp_path, "status", "--address", address)
                return f"demand asks for {MOST} replicas of the pool: max: " in said

            service.until(all_are_at_work)
            assert len(replicas_of(service)) == MOST
            service.until(is_told)
            run.close()
            got = [tree.task_id for batch in run.batches(trees=1) for tree in batch.trees]
            assert len(got) == len(set(got)) == demand.asked
            service.until(lambda: len(replicas_of(service)) == 1)
            service.until(lambda: [one.state for one in client.status().replicas].count("ready") == 1)
            [pool] = client.status().pools
            assert pool.desired == 1
            assert client.audit().violations == []
        assert "is to have 1 replica, not" in service.output()
        os.kill(service.process.pid, signal.SIGTERM)
        assert service.wait() == 0
        eventually_sync(lambda: not replicas_of(service))
