"""A Ray cluster of three hosts that wants a token, as deploy/README.md sets one up, with a fleet on it or without."""

import os
import re
import signal
from pathlib import Path

from tests.cluster.deployed import FLEET, HEAD, NODE, START_S, STOP_JOB, SUBMIT_JOB, Deployed
from tests.support.command import Command
from tests.support.eventually import eventually_sync

NODES = ("gpu1", "gpu2")
STORE_BYTES = f"--object-store-memory={80 << 20}"
STARTED = "Ray runtime started"
# Nodes that need next to nothing are spread, too; who misses the head gives up sooner than after a minute.
RAYS = {"RAY_scheduler_spread_threshold": "0", "RAY_gcs_rpc_server_reconnect_timeout_s": "20"}
# Where jobs are submitted: the page has it on loopback, which other hosts reach by ssh alone.
API = "http://head:8265"
DRAIN = """
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$PWD/ray.token
ray drain-node --address head:6379 --node-id {node} --reason DRAIN_NODE_REASON_PREEMPTION \
  --reason-message "spot market" --deadline-remaining-seconds {seconds}
"""
JOB = """
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$PWD/ray.token
ray job {what} --address "$RAY_API" treeroll-gpu
"""


class RayCluster:
    """The head and two nodes."""

    def __init__(self, service: Deployed, cpus: int = 1) -> None:
        """`cpus`: of each node but the head."""
        self.service = service
        self._cpus = cpus
        self.start_head()
        self.nodes = {name: self.start(name) for name in NODES}

    def start(self, name: str) -> Command:
        """A node that is up."""
        return self._started(NODE, name, f"--num-cpus={self._cpus}")

    def replicas_on(self, name: str) -> set[int]:
        """Processes of the replicas on a node."""
        return {pid for pid, line in self.nodes[name].family().items() if "GeneratorReplica" in line}

    @property
    def replicas(self) -> set[int]:
        """Of all of them."""
        return set().union(*map(self.replicas_on, self.nodes))

    def until_replicas(self, watched: Command, count: int) -> None:
        """Wait until there are so many, while a program runs."""
        watched.until(lambda: len(self.replicas) == count, START_S)

    def fleet(self, replicas: int) -> Command:
        """A fleet on the head, with all of its replicas at work."""
        fleet = self.service.follow(FLEET, "head", f"--replicas={replicas}", **RAYS)
        fleet.until(lambda: "all replicas are ready" in fleet.output(), START_S)
        return fleet

    def submit(self) -> None:
        """A fleet as a Ray job, from a host that is none of the cluster; all of its replicas are at work."""
        self.service.run(SUBMIT_JOB, "desk", RAY_API=API)
        eventually_sync(lambda: "all replicas are ready" in self.job("logs"), START_S, 1.0)

    def job(self, what: str) -> str:
        """What Ray says of that job: its `status` or `logs`."""
        return self.service.run(JOB.format(what=what), "desk", RAY_API=API)

    def stop_job(self) -> None:
        """End it."""
        self.service.run(STOP_JOB, "desk", RAY_API=API)

    def announce_end_of(self, name: str, seconds: int) -> None:
        """What a spot market says before it takes a node away."""
        self.service.run(DRAIN.format(node=self._node_id(name), seconds=seconds), "head")

    def left(self, name: str) -> None:
        """Wait until Ray has ended a node that was to go and that nobody uses; what started it does not end by that."""
        node = self.nodes[name]
        node.until(lambda: not any(line.startswith("raylet") for line in node.family().values()), START_S)
        self.kill(name)

    def kill(self, name: str) -> None:
        """End all of a node at once; nobody is told."""
        with self.nodes[name]:
            pass

    def lose_head(self) -> None:
        """End the process that keeps the cluster's books; what else Ray has on the head goes with it."""
        [gcs] = [pid for pid, line in self.head.family().items() if line.startswith("gcs_server")]
        os.kill(gcs, signal.SIGKILL)
        self.head.wait(START_S)
        self.head.assert_gone()

    def start_head(self) -> None:
        """A head that knows of no node."""
        self.head = self._started(HEAD, "head", "--dashboard-host=head")

    def _node_id(self, name: str) -> str:
        lines = (
            Path(f"/proc/{pid}/cmdline").read_text()
            for pid, line in self.nodes[name].family().items()
            if line.startswith("raylet:")
        )
        [node_id] = {found[1] for line in lines if (found := re.search(r"--node_id=(\w+)", line))}
        return node_id

    def _started(self, block: str, host: str, *options: str) -> Command:
        """A node that is up."""
        node = self.service.follow(block, host, STORE_BYTES, *options, **RAYS)
        node.until(lambda: STARTED in node.output(), START_S)
        return node
