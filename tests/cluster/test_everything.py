"""All at once: a service with TLS and tokens on hosts of its own, a fleet as a Ray job, and a trainer that streams 200
trees while a node is killed, then the leader, a node is taken away with notice, and the pool grows and shrinks.

Too dear for `scripts/test`: `scripts/test tests/cluster` runs it, with simulated engines and with vLLM's, and prints
how long each recovery took.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.deployed import SERVE, START_S, Deployed, deployed
from tests.cluster.ray_cluster import RayCluster
from tests.support.command import Command
from tests.support.eventually import eventually_sync

pytestmark = [pytest.mark.slow, pytest.mark.dear, pytest.mark.timeout(3600)]

TASKS = 200
ADDRESSES = "first:7070,second:7070"
TRAINER = f"""
export TREEROLL_TOKEN_FILE=alice.token TREEROLL_CA=certs/ca.pem
trainer {ADDRESSES} tasks.jsonl {{leaves}}
"""
# So few branches at once that trees come all the time, and not in waves; of vLLM's engines as few as can be.
SIMULATED = {"engine": "simulated", "replicas": 4, "slots": 16, "simulated": {"step_s": 0.06}}
VLLM = {"engine": "vllm", "replicas": 2, "slots": 8, "kv_cache_gib": 0.25, "start_timeout_s": START_S}


@dataclass
class World:
    """All that runs, and what has been seen of it."""

    service: Deployed
    ray: RayCluster
    coordinators: dict[str, Command]
    trainer: Command
    replicas: int

    def trees(self) -> list[dict[str, Any]]:
        """What has come to the trainer."""
        return [json.loads(line) for line in self.trainer.output().splitlines() if line.startswith("{")]

    def ready(self) -> list[dict[str, Any]]:
        """Replicas that are to stay, and may have work; nobody may be able to say so for some time."""
        asked = self.service.asked("status", "--json")
        if asked.returncode:
            return []
        told = json.loads(asked.stdout[asked.stdout.index("{") :])
        return [one for one in told["service"]["replicas"] if one["state"] == "ready"] if "service" in told else []

    @contextmanager
    def recovery(self, what: str, healed: Callable[[], bool]) -> Iterator[None]:
        """Something happens while trees grow; wait until all is well again, and print how long that took."""
        assert self.trainer.process.poll() is None, f"no tree grows any more before {what}: {self.trainer.output()}"
        began = time.time()
        yield
        self.trainer.until(healed, START_S)
        healed_s, seen = time.time() - began, len(self.trees())
        eventually_sync(lambda: len(self.trees()) > min(seen, TASKS - 1), START_S)
        at = [began, *(tree["at"] for tree in self.trees() if tree["at"] > began)]
        gap_s = max(after - before for before, after in pairwise(at))
        print(f"{what}: {healed_s:.1f} s until all was well; {gap_s:.1f} s was the longest wait for a tree")

    def all_on(self, *hosts: str) -> bool:
        """Whether all replicas are ready, on these hosts."""
        ready = self.ready()
        return len(ready) == self.replicas and {one["origin"]["host"] for one in ready} == set(hosts)


# vLLM's engines start for minutes, in which trees must not run out.
@pytest.mark.parametrize(
    ("generator", "leaves"),
    [pytest.param(SIMULATED, 4, id="simulated"), pytest.param(VLLM, 6, id="vllm", marks=pytest.mark.vllm)],
)
def test_every_task_ends_once_whatever_happens(
    generator: dict[str, Any], leaves: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with deployed(tmp_path, {"generator": generator}) as service, capsys.disabled():
        world = begun(service, generator["replicas"], leaves)
        node_is_killed(world)
        leader_is_killed(world)
        node_is_taken_away(world)
        pool_grows_and_shrinks(world)
        assert world.trainer.wait(START_S) == 0, world.trainer.output()
        trees = world.trees()
        assert len({tree["task"] for tree in trees}) == len(trees) == TASKS
        assert Counter(tree["status"] for tree in trees) == {"complete": TASKS}
        assert "no broken promise found" in service.ask("audit")
        world.ray.stop_job()
        eventually_sync(lambda: not world.ray.replicas, START_S)


def begun(service: Deployed, replicas: int, leaves: int) -> World:
    """Everything runs, and the trainer has a tree."""
    coordinators = {name: service.follow(SERVE, name) for name in ("first", "second")}
    ray = RayCluster(service, cpus=4)
    ray.submit()
    trainer = service.follow(TRAINER.format(leaves=leaves), "desk")
    world = World(service, ray, coordinators, trainer, replicas)
    trainer.until(lambda: world.trees(), START_S)
    return world


def node_is_killed(world: World) -> None:
    with world.recovery("a node was killed", lambda: world.all_on("gpu1")):
        world.ray.kill("gpu2")
    world.ray.nodes["gpu2"] = world.ray.start("gpu2")


def leader_is_killed(world: World) -> None:
    [leader] = [name for name, one in world.coordinators.items() if "treeroll serves at" in one.output()]
    other = world.coordinators["second" if leader == "first" else "first"]
    healed = lambda: "treeroll serves at" in other.output() and len(world.ready()) == world.replicas  # noqa: E731
    with world.recovery("the leader was killed", healed):
        world.coordinators[leader].kill()
    world.coordinators[leader] = world.service.follow(SERVE, leader)


def node_is_taken_away(world: World) -> None:
    with world.recovery("a node was to be taken away", lambda: world.all_on("gpu2")):
        world.ray.announce_end_of("gpu1", 60)
    world.ray.left("gpu1")
    world.ray.nodes["gpu1"] = world.ray.start("gpu1")


def pool_grows_and_shrinks(world: World) -> None:
    for change, what in ((2, "the pool was to grow by 2"), (-2, "the pool was to shrink by 2")):
        world.replicas += change
        with world.recovery(what, lambda: len(world.ready()) == len(world.ray.replicas) == world.replicas):
            world.service.ask("fleet", "scale", str(world.replicas))
