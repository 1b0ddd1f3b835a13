"""A fleet as a process of its own: a Ray driver that keeps replicas alive, in a cluster or on a private Ray."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from treeroll.addresses import check_addresses, is_local
from treeroll.channels import Pass
from treeroll.errors import InvalidInput, TreerollError, cause_of
from treeroll.foundation import in_thread, running_ray
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.fleet import fleet_tokenizer, with_common_context
from treeroll.generator.fleet_hands import join_hands
from treeroll.generator.fleet_link import FarCoordinator, FleetLink
from treeroll.generator.ray_config import RayConfig
from treeroll.pb.v1 import fleet_pb2 as wire

if TYPE_CHECKING:
    from treeroll.generator.cause import Cause
    from treeroll.generator.supervisor import Supervisor

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FleetPlace:
    """Whose fleet a process is to be."""

    addresses: str
    """Of the coordinator, and of those that stand by for it, joined by commas; replicas are told the same."""
    name: str = ""
    """What its replicas' names begin with; "" for the only fleet of a service."""
    shown: Pass = field(default_factory=Pass)
    """With what its replicas, and it itself, may work for the coordinator."""
    temp_dir: Path | None = None
    """Where the files of a private Ray lie; see Scratch."""

    @property
    def kept_as(self) -> str:
        """What this fleet is called in a cluster that may have several, of several services."""
        return f"{self.name or 'fleet'}@{','.join(sorted(check_addresses(self.addresses)))}"


async def run_fleet(
    config: GeneratorConfig, ray: RayConfig, place: FleetPlace, on_ready: Callable[[], None], stop: asyncio.Event
) -> None:
    """Keep replicas alive until `stop` is set, or until all are drained; then take them down.

    `on_ready` is called when all have been welcomed. Raises InvalidInput for settings that cannot work, EngineError
    when replicas are given up, SessionRefused when the coordinator does not want the fleet.
    """
    if config.engine == "none":
        raise InvalidInput("generator.engine is 'none': replicas of a fleet have an engine, 'vllm' or 'simulated'")
    tokenizer = await in_thread(lambda _: fleet_tokenizer(config))
    config = with_common_context(config, tokenizer)
    try:
        async with running_ray(config, ray, place.temp_dir) as started:
            check_reachable(place.addresses, ray)
            await _run(config, ray, place, started.logs, on_ready, stop)
    except* TreerollError as failures:
        raise cause_of(failures) from None


def check_reachable(addresses: str, ray: RayConfig) -> None:
    """InvalidInput if replicas of a cluster are to work for somebody whom only this machine reaches."""
    if ray.private:
        return
    from treeroll.generator.ray_cluster import nodes_elsewhere

    local = [address for address in check_addresses(addresses) if is_local(address)]
    if local and (others := nodes_elsewhere()):
        raise InvalidInput(
            f"replicas on {', '.join(others[:3])} of the Ray cluster cannot reach the coordinator at {local[0]}: name "
            "it by an address that all nodes reach (fleet --address, or coordinator.advertise of the service)"
        )


async def check_cluster(config: GeneratorConfig, ray: RayConfig, addresses: str, shown: Pass) -> None:
    """InvalidInput if no node has room for a replica, or if one on which replicas may come could not run them.

    For a first start: what has worked goes on with the nodes that are left. A cluster that grows has
    `generator.start_timeout_s` to get a node with room. Of a private Ray, which is this machine, nothing but its room
    is asked.
    """
    from treeroll.generator.ray_preflight import check_nodes, check_room

    wait_s = 0.0 if ray.private else config.start_timeout_s
    await in_thread(lambda cancelled: check_room(config, wait_s, cancelled))
    if not ray.private:
        await in_thread(lambda _: check_nodes(config, addresses, shown))


async def _run(
    config: GeneratorConfig,
    ray: RayConfig,
    place: FleetPlace,
    logs: Path | None,
    on_ready: Callable[[], None],
    stop: asyncio.Event,
) -> None:
    from treeroll.generator.supervisor import Supervisor

    link = FleetLink(FarCoordinator(place.addresses, place.shown), place.name)

    def on_lost(replica_id: str, incarnation: int, cause: "Cause") -> None:
        link.lose(replica_id, supervisor.processes[replica_id], cause.sentence, cause.end)

    supervisor = Supervisor(
        config, place.addresses, on_lost, newest=link.newest, logs=logs, admit=lambda _: place.shown, name=place.name
    )
    supervisor.cluster = not ray.private
    if supervisor.cluster and ray.alone_s:
        supervisor.kept_as, supervisor.alone_s = place.kept_as, ray.alone_s
    join_hands(supervisor, link)

    async def work() -> None:
        """From the coordinator's first word on: before that nobody would take replicas, and names may be in use."""
        await link.heard.wait()
        if not link.seen:
            await check_cluster(config, ray, place.addresses, place.shown)
        await _work(supervisor, on_ready)

    async with asyncio.TaskGroup() as group:
        linked = group.create_task(link.run(), name="link")
        working = group.create_task(work(), name="supervisor")
        stopping = group.create_task(stop.wait(), name="stopping")
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await supervisor.stop()
        for task in (linked, working, stopping):
            task.cancel()
    for replica_id, process in supervisor.processes.items():
        link.lose(replica_id, process, "its fleet was stopped", wire.PROCESS_END_STOPPED)
    await link.say_goodbye()


async def _work(supervisor: "Supervisor", on_ready: Callable[[], None]) -> None:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(supervisor.run(), name="replicas")
        announcing = group.create_task(_announce(supervisor, on_ready), name="announce")
        running.add_done_callback(partial(_cancel, announcing))


async def _announce(supervisor: "Supervisor", on_ready: Callable[[], None]) -> None:
    await supervisor.wait_ready()
    on_ready()


def _cancel(other: "asyncio.Task[None]", done: "asyncio.Task[None]") -> None:
    other.cancel()
