"""The Ray cluster: whether this process may join it, its nodes, and on each of them what replicas need."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from importlib import import_module

from treeroll.addresses import check_addresses
from treeroll.doctor.finding import Finding, not_checked, ok, wrong
from treeroll.doctor.ground import Ground
from treeroll.foundation import JOINED
from treeroll.generator.node_checks import ALL, GIB, Check, complaints
from treeroll.generator.node_facts import NodeFacts, Question

JOIN_S = 30.0
# Of what only replicas need, a node without room for one is not asked.
OF_REPLICAS = ("model", "coordinator")


async def ray(ground: Ground) -> AsyncIterator[Finding]:
    """It takes this process, has room for a replica of each pool, and its nodes are sound."""
    config = ground.config.ray
    config.check(os.environ)
    if config.private:
        yield not_checked("ray.address is not set: replicas are on a private Ray of one machine, or come by themselves")
        return
    await asyncio.to_thread(import_module, JOINED)  # says to Ray how to behave, before it is imported
    from treeroll.generator.ray_cluster import RayCluster, what_it_has

    cluster = RayCluster(config)
    try:
        await asyncio.to_thread(cluster.start, JOIN_S)
        yield ok(f"it takes this process, and has {what_it_has()}")
        async for finding in _nodes(ground):
            yield finding
    finally:
        await asyncio.to_thread(cluster.stop)


async def _nodes(ground: Ground) -> AsyncIterator[Finding]:
    import ray

    from treeroll.generator.ray_nodes import ask_nodes, living_nodes
    from treeroll.generator.ray_preflight import expected, no_room
    from treeroll.generator.ray_room import needs_of

    generator, nodes = ground.config.generator, living_nodes()
    if said := no_room(generator, nodes):
        yield wrong(said)
    pools = list(generator.fleet().values())
    addresses = tuple(check_addresses(ground.addresses)) if ground.addresses else ()
    question = Question(tuple(str(pool.model) for pool in pools), addresses, ground.shown)
    answers, silent = await asyncio.to_thread(ask_nodes, nodes, question)
    for node, why in silent.items():
        yield wrong(f"node {node} of the Ray cluster says nothing of itself ({why}): look at its Ray's logs")
    needs = [needs_of(pool, ray.cluster_resources()) for pool in pools]
    roomy = {node.name for node in nodes if any(need.fit(node.resources) for need in needs)}
    for facts in answers:
        checks = ALL if facts.node in roomy else _without(ALL, OF_REPLICAS)
        if not ground.reached:
            checks = _without(checks, ("coordinator",))
        found = [sentence for _, sentence in complaints([facts], expected(ground.models), checks)]
        for sentence in found:
            yield wrong(sentence)
        if not found:
            yield ok(_told(facts, "coordinator" in checks))


def _without(checks: Mapping[str, Check], names: tuple[str, ...]) -> Mapping[str, Check]:
    return {name: check for name, check in checks.items() if name not in names}


def _told(facts: NodeFacts, reaches: bool) -> str:
    """A sound node."""
    models = ", ".join(f"model {digest}" for digest in facts.models.values()) or "no model"
    parts = [
        f"treeroll {facts.treeroll}, Python {facts.python}, Ray {facts.ray}",
        models,
        *(["reaches the coordinator"] if reaches else []),
        f"clock {facts.ahead_s:+.1f} s",
        f"{facts.shm_free / GIB:.1f} GiB free in /dev/shm, {facts.disk_free / GIB:.1f} GiB for temporary files",
        ", ".join(facts.gpus) or "no GPU",
    ]
    return f"node {facts.node}: {'; '.join(parts)}"
