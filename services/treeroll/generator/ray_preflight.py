"""What is found wrong with a Ray cluster before a replica is placed on it. All of this blocks: it is for a thread."""

import logging
import platform
import time
from collections.abc import Iterable
from threading import Event

import ray

from treeroll.addresses import check_addresses
from treeroll.channels import Pass
from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.node_checks import NEEDED, Expected, complaints
from treeroll.generator.node_facts import Question
from treeroll.generator.ray_nodes import Node, ask_nodes, living_nodes
from treeroll.generator.ray_room import Needs, needs_of
from treeroll.weights.model_digest import model_digest

log = logging.getLogger(__name__)

LOOK_S = 1.0


def check_room(config: GeneratorConfig, wait_s: float, cancelled: Event) -> None:
    """Return when each pool has a node with room for one of its replicas, were it empty.

    InvalidInput if none has after `wait_s` seconds, in which a cluster that grows may get one.
    """
    deadline, said = time.monotonic() + wait_s, ""
    while not cancelled.is_set():
        sentence = no_room(config, living_nodes())
        if not sentence:
            return
        if time.monotonic() >= deadline:
            raise InvalidInput(sentence)
        if sentence != said:
            log.warning("%s; waiting for one, for %.0f s", sentence, deadline - time.monotonic())
        said = sentence
        cancelled.wait(LOOK_S)


def no_room(config: GeneratorConfig, nodes: Iterable[Node]) -> str:
    """Which pool's replicas no node has room for, and what there is, as a sentence; "" if all have one."""
    nodes = list(nodes)
    for pool, own in config.fleet().items():
        needs = needs_of(own, ray.cluster_resources())
        if not any(needs.fit(node.resources) for node in nodes):
            of = f"a replica of pool '{pool}'" if pool else "a replica"
            has = "; ".join(f"{node.name}: {Needs.of(node.resources)}" for node in nodes[:8])
            return (
                f"{of} needs {needs} on one node, and no node of the Ray cluster has that ({has}"
                f"{' ...' if len(nodes) > 8 else ''}): set generator.tensor_parallel, or add a node that has"
            )
    return ""


def check_nodes(config: GeneratorConfig, addresses: str, shown: Pass) -> None:
    """Ask every node on which a replica may come whether it could work there. InvalidInput naming one where not."""
    pools = list(config.fleet().values())
    needs = [needs_of(pool, ray.cluster_resources()) for pool in pools]
    nodes = [node for node in living_nodes() if any(need.fit(node.resources) for need in needs)]
    models = {str(pool.model): model_digest(pool.model) for pool in pools}
    answers, silent = ask_nodes(nodes, Question(tuple(models), tuple(check_addresses(addresses)), shown))
    for name, why in silent.items():
        log.warning("node %s of the Ray cluster says nothing of itself: %s", name, why)
    for _, sentence in complaints(answers, expected(models), NEEDED):
        raise InvalidInput(sentence)


def expected(models: dict[str, str]) -> Expected:
    """What nodes are held against, for models with these digests."""
    return Expected(models, platform.python_version(), ray.__version__)
