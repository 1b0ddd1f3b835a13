"""A fleet on a Ray cluster of three hosts that wants a token: its replicas are on several, and survive their node."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.deployed import FLEET, HEAD, NODE, ROLLOUT, SERVE, START_S, Deployed, deployed
from tests.support.command import Command

from treeroll.results.audit import audit_directory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

REPLICAS = 4
NODES = ("gpu1", "gpu2")
SETTINGS = {"generator": {"simulated": {"step_s": 0.05}, "replicas": REPLICAS}}
SMALL = ("--include-dashboard=false", f"--object-store-memory={80 << 20}")
STARTED = "Ray runtime started"


class RayCluster:
    """The Ray of the page, and a service for its fleets."""

    def __init__(self, service: Deployed) -> None:
        self.service = service
        self.coordinator = service.follow(SERVE, "first")
        started_node(service, HEAD, "head", *SMALL)
        self.nodes = {name: started_node(service, NODE, name, "--num-cpus=1", SMALL[1]) for name in NODES}
        self.coordinator.until(lambda: "treeroll serves at" in self.coordinator.output(), START_S)

    def replicas_on(self, name: str) -> int:
        """How many replicas run on a node."""
        return sum("GeneratorReplica" in line for line in self.nodes[name].family().values())


def started_node(service: Deployed, block: str, host: str, *options: str) -> Command:
    """A node that is up. Its scheduler spreads even what needs next to nothing."""
    node = service.follow(block, host, *options, RAY_scheduler_spread_threshold="0")
    node.until(lambda: STARTED in node.output(), START_S)
    return node


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    with deployed(tmp_path_factory.mktemp("ray"), SETTINGS) as service:
        yield RayCluster(service)


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "another" * 8}, "the token in this environment is another"),
        ({"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_MODE": "disabled"}, "there is none in this environment"),
    ],
)
def test_a_fleet_without_the_clusters_token_is_told_so_in_a_sentence(
    cluster: RayCluster, tmp_path: Path, env: dict[str, str], why: str
) -> None:
    fleet = cluster.service.follow(FLEET, "head", HOME=str(tmp_path), **env)  # Ray looks for a token there, too
    assert fleet.wait(START_S) == 2
    assert fleet.output().count("\n") == 1, fleet.output()
    assert f"wants its token, and {why}" in fleet.output()


def test_a_fleet_that_is_not_told_which_ray_to_join_starts_none_beside_it(cluster: RayCluster) -> None:
    fleet = cluster.service.follow(FLEET.replace("--ray-address head:6379", ""), "head", RAY_ADDRESS="head:6379")
    assert fleet.wait(START_S) == 2
    assert fleet.output().count("\n") == 1, fleet.output()
    assert "set ray.address (--ray-address) to 'auto' to join that cluster" in fleet.output()


def test_replicas_of_a_node_that_dies_start_on_another_and_no_tree_is_lost(cluster: RayCluster) -> None:
    service, coordinator = cluster.service, cluster.coordinator
    fleet = service.follow(FLEET, "head", f"--replicas={REPLICAS}")
    fleet.until(lambda: "all replicas are ready" in fleet.output(), START_S)
    there = {name: cluster.replicas_on(name) for name in NODES}
    assert sum(there.values()) == REPLICAS
    assert all(there.values())
    rollout = service.follow(ROLLOUT, "desk", "--scorer", "arith", "--leaves", "4", "--out", "out")
    rollout.until(lambda: service.has_trees("out"), START_S)
    service.hosts["gpu2"].switch_off()
    # Ray knows some time later that a node is dead, and may place one there in vain before.
    coordinator.until(lambda: cluster.replicas_on("gpu1") == REPLICAS, START_S)
    assert rollout.wait(START_S) == 0, rollout.output()
    trees = service.rows("trees", "out")
    assert len({tree["task_id"] for tree in trees}) == len(trees) == 200
    assert {tree["status"] for tree in trees} == {"complete"}
    assert not audit_directory(service.place / "out")[1]
    assert "no broken promise found" in service.ask("audit")
    assert fleet.process.poll() is None
