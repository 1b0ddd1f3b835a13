"""Coordinators, Redis by TLS, replicas and a client on hosts of their own: cables are cut, the coordinator moves."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.cluster.deployed import REPLICA, ROLLOUT, SERVE, START_S, Deployed, deployed, moments
from tests.support.command import Command
from tests.support.eventually import eventually_sync

from treeroll.results.audit import audit_directory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TASKS = 200
REPLICAS = ("gpu1-0", "gpu1-1", "gpu2-0", "gpu2-1")
GROWTH = ("--scorer", "arith", "--leaves", "4")
LEASE_S = 10.0
# How soon after that others have the branches; how soon all replicas are with a coordinator that has taken over.
REGRANT_S, FOLLOW_S = 2.0, 10.0
# So slow that replicas have work when something happens to some of them.
SETTINGS = {"generator": {"simulated": {"step_s": 0.05}}}
WELCOMED = r"coordinator (\w+):\d+ \(epoch \d+\) has welcomed this replica"


class Cluster:
    """The service of the page, with two replicas on each of its hosts."""

    def __init__(self, service: Deployed) -> None:
        self.service = service
        self.coordinators = {name: service.follow(SERVE, name) for name in ("first", "second")}
        self.replicas = {name: service.follow(REPLICA, name.partition("-")[0], "--name", name) for name in REPLICAS}
        self.until(self._whole)

    def until(self, check: Callable[[], bool]) -> None:
        """Wait for a condition while all processes live."""

        def checked() -> bool:
            for name, command in (self.coordinators | self.replicas).items():
                assert command.process.poll() is None, f"{name} has ended:\n{command.output()}"
            return check()

        eventually_sync(checked, START_S, 0.1)

    def _whole(self) -> bool:
        """Whether one coordinator serves all replicas, and the other stands by for it."""
        by_role = sorted(self.coordinators.values(), key=lambda one: "treeroll serves at" not in one.output())
        serves, stands_by = (one.output() for one in by_role)
        return (
            "treeroll serves at" in serves
            and " stands by for process " in stands_by
            and all(f"replica {name} incarnation " in serves for name in REPLICAS)
        )

    @property
    def owner(self) -> str:
        """The host of the coordinator that serves."""
        [name] = [name for name, one in self.coordinators.items() if "treeroll serves at" in one.output()]
        return name

    def rollout(self, out: str) -> Command:
        """A run that has begun to give trees to its client."""
        rollout = self.service.follow(ROLLOUT, "desk", *GROWTH, "--out", out)
        rollout.until(lambda: self.service.has_trees(out), START_S)
        return rollout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with deployed(tmp_path_factory.mktemp("hosts"), SETTINGS) as service:
        yield Cluster(service)


def ended_whole(cluster: Cluster, rollout: Command, out: str) -> list[dict[str, Any]]:
    """Every task has its tree, once, and every promise was kept. Returns the nodes that replicas made."""
    assert rollout.wait(START_S) == 0, rollout.output()
    trees = cluster.service.rows("trees", out)
    assert sorted(tree["task_id"] for tree in trees) == sorted({tree["task_id"] for tree in trees})
    assert (len(trees), {tree["status"] for tree in trees}) == (TASKS, {"complete"})
    assert not audit_directory(cluster.service.place / out)[1]
    assert "no broken promise found" in cluster.service.ask("audit")
    return [node for node in cluster.service.rows("nodes", out) if node["replica_id"]]


class Cut:
    """The host `gpu2` is cut off until others have its branches, and comes back."""

    def __init__(self, cluster: Cluster) -> None:
        owner, gone = cluster.coordinators[cluster.owner], [cluster.replicas[name] for name in REPLICAS[2:]]
        losses = r"replica (gpu2-\d incarnation \d+) on gpu2 lost its lease, .*: it was silent for "
        before, welcomes = len(moments(owner, losses)), [len(moments(one, WELCOMED)) for one in gone]
        host = cluster.service.hosts["gpu2"]
        host.unplug()
        self.at = time.time()
        cluster.until(lambda: len(moments(owner, losses)) == before + len(gone))
        self.lost = {name for _, name in moments(owner, losses)[before:]}
        host.plug_in()
        cluster.until(lambda: all(len(moments(one, WELCOMED)) > n for one, n in zip(gone, welcomes, strict=True)))

    def regranted_s(self, nodes: list[dict[str, Any]]) -> list[float]:
        """How long after the cut each branch that was granted again had its new request."""
        return sorted(took_s for node in nodes if node["attempt"] > 1 and (took_s := node["started_at"] - self.at) > 0)


class Move:
    """The host of the coordinator that serves is cut off until the other one has all replicas."""

    def __init__(self, cluster: Cluster) -> None:
        self.lost = cluster.owner
        other = cluster.coordinators["second" if self.lost == "first" else "first"]
        replicas = cluster.replicas.values()
        welcomes = [len(moments(one, WELCOMED)) for one in replicas]
        cluster.service.hosts[self.lost].unplug()
        cluster.until(lambda: "treeroll serves at" in other.output())
        cluster.until(lambda: all(len(moments(one, WELCOMED)) > n for one, n in zip(replicas, welcomes, strict=True)))
        [(took_over, _)] = moments(other, "(takes) rediss://store:6379/0 over from process ")
        self.followed_s = [moments(one, WELCOMED)[-1][0] - took_over for one in replicas]
        self.taken_up = [int(count) for _, count in moments(other, r"replica \S+ goes on with (\d+) of ")]


def test_branches_of_a_host_that_is_cut_off_go_elsewhere_and_what_it_made_then_counts_for_nothing(
    cluster: Cluster,
) -> None:
    rollout = cluster.rollout("cut")
    cut = Cut(cluster)
    nodes = ended_whole(cluster, rollout, "cut")
    assert {node["replica_id"] for node in nodes} == set(REPLICAS)
    assert cut.regranted_s(nodes)
    assert len(cut.lost) == 2
    of_lost = [node for node in nodes if f"{node['replica_id']} incarnation {node['incarnation']}" in cut.lost]
    assert max(node["finished_at"] for node in of_lost) <= cut.at
    for name in REPLICAS[2:]:
        assert re.search(
            r"incarnation \d+ lost its lease.* what it decoded is dropped", cluster.replicas[name].output()
        )


def test_replicas_and_client_follow_when_the_coordinators_host_is_cut_off(cluster: Cluster) -> None:
    rollout = cluster.rollout("moved")
    move = Move(cluster)
    nodes = ended_whole(cluster, rollout, "moved")
    # The same engines in the same lives, with what they had.
    assert len({(node["replica_id"], node["incarnation"]) for node in nodes}) == len(REPLICAS)
    assert sum(move.taken_up) > 0
    # Who was owner finds another in its place, and goes.
    old = cluster.coordinators.pop(move.lost)
    cluster.service.hosts[move.lost].plug_in()
    assert old.wait(START_S) == 1
    assert re.search(r"belongs to epoch \d+, of process \d+ on \w+, now", old.output().splitlines()[-1])
    cluster.coordinators[move.lost] = cluster.service.follow(SERVE, move.lost)
    cluster.until(lambda: " stands by for process " in cluster.coordinators[move.lost].output())


@pytest.mark.timing
def test_others_have_the_branches_soon_after_a_lease_and_all_follow_a_coordinator_that_moves(cluster: Cluster) -> None:
    rollout = cluster.rollout("timed")
    cut, move = Cut(cluster), Move(cluster)
    took_s = cut.regranted_s(ended_whole(cluster, rollout, "timed"))
    print(f"cable cut to the first new request of a branch: {took_s[0]:.1f} s, lease {LEASE_S:g} s")
    print(f"taken over to the last welcome of a replica: {max(move.followed_s):.1f} s")
    assert took_s[0] < LEASE_S + REGRANT_S
    assert max(move.followed_s) < FOLLOW_S
