"""A fleet on a Ray cluster of three hosts that wants a token: as a job, killed, on nodes that go, with notice or not.

The tests share a cluster, and the order that they have: the last ones break it. What is marked `dear` runs in
`scripts/test tests/cluster` only.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.deployed import FLEET, ROLLOUT, SERVE, START_S, Deployed, deployed
from tests.cluster.ray_cluster import NODES, RayCluster
from tests.support.command import Command

from treeroll.demo import MODEL_DIR
from treeroll.results.audit import audit_directory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

REPLICAS, TASKS, MORE_TASKS = 4, 60, 100
SETTINGS = {"generator": {"simulated": {"step_s": 0.03}, "replicas": REPLICAS}}


class Served:
    """The Ray of the page, and a service for its fleets."""

    def __init__(self, service: Deployed) -> None:
        self.service = service
        self.coordinator = service.follow(SERVE, "first")
        self.ray = RayCluster(service)
        self.coordinator.until(lambda: "treeroll serves at" in self.coordinator.output(), START_S)

    def rollout(self, out: str, tasks: int = TASKS, leaves: int = 4) -> Command:
        """A run that has begun to give trees to its client."""
        growth = ("--scorer", "arith", "--limit", str(tasks), "--leaves", str(leaves), "--out", out)
        rollout = self.service.follow(ROLLOUT, "desk", *growth)
        rollout.until(lambda: self.service.has_trees(out), START_S)
        return rollout

    def gone(self) -> Counter[str]:
        """Replicas that went so far, by how."""
        store = (self.service.place / "store.url").read_text()
        told = json.loads(self.service.ask("top", "--json", "--store", store))["snapshot"]
        [pool] = told["pools"]
        lost = sum(replica.get("losses", 0) for replica in told["replicas"])
        return Counter(drained=pool.get("drained_replicas", 0), preempted=pool.get("preempted_replicas", 0), lost=lost)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with deployed(tmp_path_factory.mktemp("ray"), SETTINGS) as service:
        yield Served(service)


def ended_whole(served: Served, rollout: Command, out: str, tasks: int = TASKS) -> list[dict[str, object]]:
    """Every task has its tree, once, and every promise was kept. Returns the nodes that replicas made."""
    assert rollout.wait(START_S) == 0, rollout.output()
    trees = served.service.rows("trees", out)
    assert len({tree["task_id"] for tree in trees}) == len(trees) == tasks
    assert {tree["status"] for tree in trees} == {"complete"}
    assert not audit_directory(served.service.place / out)[1]
    assert "no broken promise found" in served.service.ask("audit")
    return [node for node in served.service.rows("nodes", out) if node["replica_id"]]


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "another" * 8}, "the token in this environment is another"),
        ({"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_MODE": "disabled"}, "there is none in this environment"),
    ],
)
def test_a_fleet_without_the_clusters_token_is_told_so_in_a_sentence(
    served: Served, tmp_path: Path, env: dict[str, str], why: str
) -> None:
    fleet = served.service.follow(FLEET, "head", HOME=str(tmp_path), **env)  # Ray looks for a token there, too
    assert fleet.wait(START_S) == 2
    assert fleet.output().count("\n") == 1, fleet.output()
    assert f"wants its token, and {why}" in fleet.output()


def test_a_fleet_that_is_not_told_which_ray_to_join_starts_none_beside_it(served: Served) -> None:
    fleet = served.service.follow(FLEET.replace("--ray-address head:6379", ""), "head", RAY_ADDRESS="head:6379")
    assert fleet.wait(START_S) == 2
    assert fleet.output().count("\n") == 1, fleet.output()
    assert "set ray.address (--ray-address) to 'auto' to join that cluster" in fleet.output()


def test_a_node_without_the_model_or_with_another_one_there_is_named_before_a_replica_comes(served: Served) -> None:
    """Hosts have a /tmp of their own, so one path is a directory on each."""
    model, hosts = "/tmp/model", served.service.hosts  # noqa: S108

    def on(name: str, *command: str) -> None:
        done = hosts[name].run(*command, cwd=Path("/"), env={})
        assert done.returncode == 0, done.stdout

    def refusal() -> str:
        fleet = served.service.follow(FLEET, "head", "--model", model)
        assert fleet.wait(START_S) == 2, fleet.output()
        assert not served.ray.replicas
        return fleet.output().splitlines()[-1]

    for name in ("head", "gpu1"):
        on(name, "cp", "-r", str(MODEL_DIR), model)
    missing = f"node gpu2 of the Ray cluster cannot read model {model} (it is not there): put it there under the same"
    assert missing in refusal()
    on("gpu2", "cp", "-r", str(MODEL_DIR), model)
    on("gpu2", "sh", "-c", f"echo >> {model}/config.json")
    assert f"node gpu2 of the Ray cluster has another model at {model}, with digest " in refusal()


def test_a_fleet_is_a_ray_job_whose_replicas_end_when_it_is_stopped(served: Served) -> None:
    served.ray.submit()
    served.ray.until_replicas(served.coordinator, REPLICAS)
    assert all(map(served.ray.replicas_on, NODES))
    assert "gpu-r3" in served.service.ask("status")
    served.ray.stop_job()
    served.ray.until_replicas(served.coordinator, 0)
    assert "was stopped" in served.ray.job("status")
    assert "stopping, after SIGTERM" in served.ray.job("logs")
    served.coordinator.until(lambda: "fleet 'gpu' has ended" in served.coordinator.output(), START_S)


def test_a_fleet_that_was_killed_finds_its_replicas_again_with_their_work(served: Served) -> None:
    fleet = served.ray.fleet(REPLICAS)
    before = served.ray.replicas
    rollout = served.rollout("killed")
    fleet.kill()
    with served.ray.fleet(REPLICAS) as again:
        assert served.ray.replicas == before
        nodes = ended_whole(served, rollout, "killed")
        assert {node["attempt"] for node in nodes} == {1}  # nobody's work was done again
        again.interrupt()
        assert again.wait(START_S) == 0
        served.ray.until_replicas(served.coordinator, 0)


def test_replicas_of_a_node_that_is_to_be_taken_away_leave_it_in_order(served: Served) -> None:
    fleet = served.ray.fleet(REPLICAS)
    leaving = len(served.ray.replicas_on("gpu2"))
    assert leaving
    rollout, before = served.rollout("drained"), served.gone()
    served.ray.announce_end_of("gpu2", 300)
    fleet.until(lambda: len(served.ray.replicas_on("gpu1")) == REPLICAS, START_S)
    served.ray.left("gpu2")
    nodes = ended_whole(served, rollout, "drained")
    assert {node["attempt"] for node in nodes} == {1}  # what ran there has ended there
    fleet.until(lambda: served.gone() - before == Counter(preempted=leaving), START_S)
    served.ray.nodes["gpu2"] = served.ray.start("gpu2")
    fleet.interrupt()
    assert fleet.wait(START_S) == 0


def test_replicas_of_a_node_that_dies_start_on_another_and_no_tree_is_lost(served: Served) -> None:
    fleet = served.ray.fleet(REPLICAS)
    assert all(map(served.ray.replicas_on, NODES))
    rollout = served.rollout("died")
    served.service.hosts["gpu2"].switch_off()
    # Ray knows some time later that a node is dead, and may place one there in vain before.
    served.coordinator.until(lambda: len(served.ray.replicas_on("gpu1")) == REPLICAS, START_S)
    ended_whole(served, rollout, "died")
    assert fleet.process.poll() is None


@pytest.mark.dear
def test_a_fleet_whose_cluster_loses_its_head_says_so_and_its_successor_goes_on(served: Served) -> None:
    fleet = served.ray.fleet(REPLICAS)
    rollout = served.rollout("headless", MORE_TASKS, leaves=8)
    served.ray.lose_head()
    assert fleet.wait(START_S) == 1
    assert "error: the head of the Ray cluster has not answered" in fleet.output().splitlines()[-1], fleet.output()
    served.ray.left("gpu1")  # Ray ends the nodes of a cluster without a head
    served.ray.start_head()
    served.ray.nodes["gpu1"] = served.ray.start("gpu1")
    served.ray.fleet(REPLICAS)
    ended_whole(served, rollout, "headless", MORE_TASKS)
