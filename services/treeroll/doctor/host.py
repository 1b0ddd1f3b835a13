"""This host: models, ports, room."""

import asyncio
import os
from collections.abc import AsyncIterator

from treeroll.channels import check_port
from treeroll.doctor.finding import Finding, not_checked, ok, wrong
from treeroll.doctor.ground import Ground
from treeroll.errors import Unavailable
from treeroll.generator.fleet import fleet_tokenizer
from treeroll.generator.gpus import visible_gpus
from treeroll.generator.node_checks import GIB, why_little_room
from treeroll.generator.node_facts import bare
from treeroll.generator.origin import software
from treeroll.weights.model_digest import model_digest


async def models(ground: Ground) -> AsyncIterator[Finding]:
    """The models of all pools are there, whole, with one tokenizer."""
    pools = ground.config.generator.fleet()
    tokenizer = await asyncio.to_thread(fleet_tokenizer, ground.config.generator)
    for name, pool in pools.items():
        digest = ground.models[str(pool.model)] = await asyncio.to_thread(model_digest, pool.model)
        of = f"pool '{name}': " if name else ""
        yield ok(f"{of}{pool.model} with digest {digest}, tokenizer {tokenizer.hash}")


async def room(ground: Ground) -> AsyncIterator[Finding]:
    """Shared memory, disk, GPUs and what is installed."""
    facts = bare()
    if said := why_little_room(facts["shm_free"], facts["disk_free"]):
        yield wrong(f"this host {said}")
        return
    gpus = await asyncio.to_thread(visible_gpus, os.environ)
    has = ", ".join(f"{name} {version}" for name, version in sorted(software().items()))
    yield ok(
        f"{facts['shm_free'] / GIB:.1f} GiB free in /dev/shm, {facts['disk_free'] / GIB:.1f} GiB for temporary files, "
        f"{', '.join(gpus) or 'no GPU'}; {has}"
    )


async def ports(ground: Ground) -> AsyncIterator[Finding]:
    """What `treeroll serve` would listen on is free, or has the service that runs."""
    config = ground.config.coordinator
    for name, port in (("coordinator.port", config.port), ("coordinator.health_port", config.health_port)):
        if not port:
            if name == "coordinator.port":
                yield not_checked(f"{name} is 0: the service takes any that is free")
            continue
        try:
            check_port(config.host, port)
        except Unavailable as error:
            if not ground.reached:
                yield wrong(f"{name}: {error}")
                continue
            yield ok(f"{port} on {config.host} is taken, as it should be by a service that runs")
        else:
            yield ok(f"{port} on {config.host} is free")
