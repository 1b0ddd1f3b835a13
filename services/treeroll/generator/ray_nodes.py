"""The nodes of the Ray cluster that this process has joined: what each of them has, asked by a task on it."""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray._private import state
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from treeroll import __version__
from treeroll.generator import node_facts
from treeroll.generator.node_facts import Answer, NodeFacts, Question
from treeroll.generator.ray_room import Needs, shortage
from treeroll.versions import work_together

log = logging.getLogger(__name__)

# A worker process of Ray takes seconds to start, on a busy node many.
ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Node:
    """A living node of the cluster."""

    id: str
    name: str
    resources: Mapping[str, float]
    """All that it has, by Ray's names: "CPU", "GPU", "memory" in bytes ..."""


def living_nodes() -> list[Node]:
    """By name."""
    found = [
        Node(node["NodeID"], node["NodeManagerHostname"], node["Resources"]) for node in ray.nodes() if node["Alive"]
    ]
    return sorted(found, key=lambda node: (node.name, node.id))


def missing_for(actor: Any, needs: Needs) -> str:
    """Why an actor whose process has not begun has no node, as a sentence; "" if it has one, or Ray does not say."""
    try:  # none of this is public
        known = state.state.actor_table(actor._actor_id.hex())  # noqa: SLF001
        # Until a worker is its own, the node in its address is that which looks for one.
        if known and known["Address"]["Port"]:
            return ""
        free = state.state.available_resources_per_node()
    except Exception as error:
        log.warning("Ray does not say where a replica is: %s", error)
        return ""
    return shortage(needs, {node.id: node.resources for node in living_nodes()}, free)


def draining_nodes() -> dict[str, float | None]:
    """Nodes that are to be taken away, by their ids: when, in seconds since the Unix epoch; None: that is not said."""
    # There is no public way; Ray's own trainers ask so.
    return {name: at / 1000 if at else None for name, at in state.state.get_draining_nodes().items()}


def ask_nodes(
    nodes: Iterable[Node], question: Question, timeout_s: float = ANSWER_S
) -> tuple[list[NodeFacts], dict[str, str]]:
    """Blocks. What the nodes answered, and why others did not, by the names of these."""
    nodes = list(nodes)
    # By value: a node with another treeroll, or with none, must be able to say so.
    ray.cloudpickle.register_pickle_by_value(node_facts)
    try:
        bare = ray.remote(node_facts.bare)
        found, silent = _on_each(nodes, bare, (), timeout_s)
        # Once more: a worker that has started answers soon, so that the clocks can be compared.
        found |= _on_each([node for node in nodes if node.id in found], bare, (), timeout_s)[0]
    finally:
        ray.cloudpickle.unregister_pickle_by_value(node_facts)
    alike = [node for node in nodes if node.id in found and work_together(found[node.id]["treeroll"], __version__)]
    more, stuck = _on_each(alike, ray.remote(node_facts.of_treeroll), (question,), timeout_s)
    names = {node.id: node.name for node in nodes}
    answers = [
        NodeFacts(names[name], **{**answer, **more.get(name, {})})
        for name, answer in found.items()
        if name not in stuck
    ]
    return sorted(answers, key=lambda answer: answer.node), {names[name]: why for name, why in (silent | stuck).items()}


def _on_each(
    nodes: list[Node], task: Any, args: tuple[object, ...], timeout_s: float
) -> tuple[dict[str, Answer], dict[str, str]]:
    """Answers, and why there is none, by the nodes' ids."""
    running, sent = {}, {}
    for node in nodes:
        sent[node.id] = time.time()
        there = NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)
        options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
        running[task.options(**options).remote(*args)] = node.id
    found: dict[str, Answer] = {}
    silent: dict[str, str] = {}
    deadline = time.monotonic() + timeout_s
    waiting = list(running)
    while waiting:
        done, waiting = ray.wait(waiting, timeout=max(0.0, deadline - time.monotonic()))
        if not done:
            break
        node_id = running[done[0]]
        try:
            answer = ray.get(done[0])
        except ray.exceptions.RayError as error:
            silent[node_id] = _sentence(error)
            continue
        if "now" in answer:
            answer["ahead_s"] = ahead_s(answer.pop("now"), sent[node_id], time.time())
        found[node_id] = answer
    for late in waiting:
        silent[running[late]] = f"a task on it has not ended within {timeout_s:g} s"
        ray.cancel(late, force=True)
    return found, silent


def ahead_s(there: float, sent: float, received: float) -> float:
    """How far the clock that showed `there` is ahead of the one by which it was asked and had answered, at least; below
    0 it is behind. Seconds; 0 if it lies between."""
    return max(there - received, min(0.0, there - sent))


def _sentence(error: BaseException) -> str:
    """What went wrong, without Ray's traceback."""
    said = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
    return " ".join(str(said).split()) or type(said).__name__
