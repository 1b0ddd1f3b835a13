"""A replica as a process of its own, without Ray: started by a person, Slurm, systemd or a StatefulSet."""

import asyncio
import logging
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from treeroll.channels import Pass
from treeroll.errors import InvalidInput
from treeroll.generator.affinity import asked_threads, claim_cores
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.exporter import exporting
from treeroll.generator.factory import make_engine
from treeroll.generator.replica import Replica

# How long a goodbye may take, seconds.
GOODBYE_S = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Which replica a process is to be, and whose."""

    name: str
    """One of its own in the service, over restarts."""
    addresses: str
    """Of the coordinator, and of those that stand by for it, joined by commas."""
    pool: str = ""
    shown: Pass = field(default_factory=Pass)
    """With what it may be this replica."""


async def run_replica(
    config: GeneratorConfig, place: Place, on_joined: Callable[[int], None], stop: asyncio.Event
) -> None:
    """Start the engine and work for the coordinator until it drains this replica, or until `stop` is set.

    `on_joined` is called with its incarnation at the first welcome. Raises InvalidInput for a configuration that cannot
    work, EngineError when the engine does not start or dies, SessionRefused when the coordinator does not want it.
    """
    own = _own_settings(config, place.pool)
    if own.engine == "vllm":
        claim_cores(0, 1, asked_threads(os.environ))  # of those that it was given, all
    detokenizer = await asyncio.to_thread(Detokenizer, own.model)
    # Its incarnation is told only when its engine runs; by chance no two processes sample the same noise.
    engine = make_engine(own, detokenizer, place.name, secrets.randbits(63))
    replica = Replica(engine, detokenizer, place.name, 0, place.addresses, place.pool, place.shown)
    log.info("replica %s starts its engine: %s, model %s", place.name, own.engine, own.model)
    with exporting(own.metrics, replica.seen, with_process=own.engine == "vllm") as replica.metrics_url:
        await _work(replica, on_joined, stop)


async def _work(replica: Replica, on_joined: Callable[[int], None], stop: asyncio.Event) -> None:
    """Until it is drained, or until `stop` is set."""
    working = asyncio.create_task(replica.run(), name="replica")
    joining = asyncio.create_task(_tell_joined(replica, on_joined), name="joining")
    stopping = asyncio.create_task(stop.wait(), name="stopping")
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and replica.session.connected.is_set():
            replica.leave()
            await asyncio.wait({working}, timeout=GOODBYE_S)
        if working.done():
            working.result()
    finally:
        for task in (working, joining, stopping):
            task.cancel()
        await asyncio.gather(working, joining, stopping, return_exceptions=True)


async def _tell_joined(replica: Replica, on_joined: Callable[[int], None]) -> None:
    await replica.session.connected.wait()
    on_joined(replica.incarnation)


def _own_settings(config: GeneratorConfig, pool: str) -> GeneratorConfig:
    """The settings of the pool's replicas."""
    if config.engine == "none":
        raise InvalidInput("generator.engine is 'none': a replica has an engine, 'vllm' or 'simulated'")
    fleet = config.fleet()
    if pool not in fleet:
        if not config.pools:
            return config  # the service names its pools; this file has the one model
        raise InvalidInput(f"generator.pools has no pool '{pool}'; give --pool, one of {', '.join(sorted(fleet))}")
    return fleet[pool]
