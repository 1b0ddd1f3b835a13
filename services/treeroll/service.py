"""The whole service in one process tree: Redis, coordinator and feed, Ray with replicas and scorers.

treeroll serve ── this process: coordinator, feed, supervisor
   ├── redis-server (embedded, unless a URL is given)
   └── Ray ── replica actors (one engine each), scorer workers
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from pydantic import Field

from treeroll.access.config import AccessConfig, check_host
from treeroll.access.guard import Guard
from treeroll.access.tls import replica_pass, server_certificate
from treeroll.access.tokens import Tokens
from treeroll.addresses import join, within
from treeroll.channels import Gate, Pass, listen, make_server
from treeroll.chat.template import ChatTemplate
from treeroll.config import Config, CoordinatorConfig, ScorersConfig, StoreConfig
from treeroll.coordinator.api import RolloutsApi, add_rollouts
from treeroll.coordinator.gc_tuning import tune_gc
from treeroll.coordinator.loop import Coordinator, Item
from treeroll.coordinator.malloc_tuning import tune_malloc
from treeroll.coordinator.persist import CommitBuilder
from treeroll.coordinator.prospects import Prospects
from treeroll.coordinator.readiness import Readiness
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.coordinator.reports import read_tokens
from treeroll.coordinator.retention import Retention
from treeroll.coordinator.scoring import Scoring
from treeroll.coordinator.start_messages import StartOrders
from treeroll.coordinator.tool_runner import ToolRunner
from treeroll.coordinator.weights import restore
from treeroll.core.model.events import ReplicaLost
from treeroll.core.model.state import CoreSettings, State
from treeroll.errors import InvalidInput, TreerollError, cause_of
from treeroll.feed.feed import Feed
from treeroll.foundation import in_thread, running_ray, running_store
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.fleet import fleet_tokenizer, say_stop_ids, stop_ids, with_common_context
from treeroll.pb.v1 import replica_pb2_grpc
from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.store.base import Store
from treeroll.tokenizer import Tokenizer

if TYPE_CHECKING:
    from treeroll.generator.supervisor import Supervisor
    from treeroll.scorers.pool import ScorerPool

T = TypeVar("T")

log = logging.getLogger(__name__)

INCARNATIONS_PER_EPOCH = 10_000
# How long calls that are being answered may take to end.
CLOSE_S = 1.0


class ServiceConfig(Config):
    """What `treeroll serve` reads."""

    generator: GeneratorConfig = Field(default_factory=GeneratorConfig)
    coordinator: CoordinatorConfig = Field(default_factory=CoordinatorConfig)
    store: StoreConfig = Field(default_factory=StoreConfig)
    scorers: ScorersConfig = Field(default_factory=ScorersConfig)
    access: AccessConfig = Field(default_factory=AccessConfig)


async def serve(config: ServiceConfig, on_ready: Callable[[str], None], stop: asyncio.Event) -> None:
    """Run the service until `stop` is set, at whatever point of its start that may be, then take everything down.

    `on_ready` gets "HOST:PORT" once all replicas are ready. Raises InvalidInput for a configuration that cannot work,
    and Unavailable, StoreError or EngineError when a part gives up for good.
    """
    check_host(config.coordinator.host, config.access)
    tune_gc()
    tune_malloc()
    try:
        async with AsyncExitStack() as stack:
            # Before anything that takes time or leaves something: a taken port is the commonest failure of all.
            door = await open_door(config.coordinator, config.access)
            stack.push_async_callback(door.server.stop, CLOSE_S)
            base = await _unless(stop, _start_base(stack, config))
            if base is not None:
                await _serve_on(base, door, on_ready, stop)
    except* TreerollError as failures:
        raise cause_of(failures) from None


@dataclass(frozen=True, slots=True)
class _Base:
    """What the coordinator is built on, started."""

    config: ServiceConfig
    tokenizer: Tokenizer
    store: Store
    epoch: int
    pool: "ScorerPool"
    replica_logs: Path


async def _start_base(stack: AsyncExitStack, config: ServiceConfig) -> _Base:
    from treeroll.scorers.pool import ScorerPool

    place = config.coordinator.temp_dir
    tokenizer = await in_thread(lambda _: fleet_tokenizer(config.generator))
    await in_thread(lambda _: say_stop_ids(config.generator))
    config = config.model_copy(update={"generator": with_common_context(config.generator, tokenizer)})
    store = await stack.enter_async_context(running_store(config.store, place))
    stack.push_async_callback(store.close)
    epoch = await store.open()
    starting = stack.enter_async_context(running_ray(config.generator, place))
    ray, _ = await asyncio.gather(starting, in_thread(lambda _: _load_chat(tokenizer.chat)))
    pool = ScorerPool(config.scorers.workers)
    stack.push_async_callback(pool.stop)
    await pool.start()
    return _Base(config, tokenizer, store, epoch, pool, ray.logs)


def _load_chat(template: ChatTemplate) -> None:
    """Load what renders messages, which takes seconds: the first task that has any would wait for it."""
    try:
        template.load()
    except InvalidInput as error:
        log.warning("tasks with 'messages' will be refused: %s", error)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The work's result; None, and the work cancelled, if `stop` is set before."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return None
        return await working
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _serve_on(base: _Base, door: "Door", on_ready: Callable[[str], None], stop: asyncio.Event) -> None:
    from treeroll.generator.supervisor import Supervisor

    config, epoch = base.config, base.epoch
    timeouts: dict[str, float] = {}
    scoring = Scoring(base.pool, timeouts)
    coordinator = make_coordinator(config, base.tokenizer, base.store, epoch, scoring)
    await restore(coordinator)
    replicas = ReplicaPlane(coordinator, config.coordinator.heartbeat_s, base.tokenizer)
    restarts: Counter[str] = Counter()

    def on_lost(replica_id: str, incarnation: int, cause: str) -> None:
        restarts[replica_id] += 1
        coordinator.post_nowait(Item([ReplicaLost(replica_id, max(incarnation, newest(replica_id)), cause)]))

    def newest(replica_id: str) -> int:
        return coordinator.state.incarnations.get(replica_id, 0)

    address = join(config.coordinator.host, door.port)
    # Engine seeds come from incarnations: a service that starts again on the same store must not sample the same noise.
    first_incarnation = (epoch - 1) * INCARNATIONS_PER_EPOCH + 1
    reached = join(within(config.coordinator.host), door.port)
    supervisor = Supervisor(
        config.generator, reached, on_lost, first_incarnation, newest, base.replica_logs, admit=door.admit
    )
    by_us = config.generator.engine != "none"
    prospects = Prospects(coordinator.state, supervisor.kept) if by_us else Prospects(coordinator.state)
    feed = Feed(base.store, prospects.outlook, prospects.terms)
    coordinator.on_emit = feed.notify
    retention, keep = Retention(coordinator, config.store.keep_acknowledged_s), config.coordinator.keep_weights
    rollouts = RolloutsApi(
        coordinator, replicas, feed, base.tokenizer, timeouts, restarts, retention, base.pool, keep, prospects
    )
    door.answer(rollouts, replicas, coordinator)
    async with asyncio.TaskGroup() as group:
        background = [
            group.create_task(coordinator.run(), name="coordinator"),
            group.create_task(coordinator.keep_time(), name="clock"),
            group.create_task(scoring.run(coordinator), name="scoring"),
            group.create_task(retention.run(), name="retention"),
        ]
        if by_us:
            group.create_task(supervisor.run(), name="supervisor")
            background.append(group.create_task(_announce(supervisor, on_ready, address), name="announce"))
        else:
            on_ready(address)
        await stop.wait()
        door.readiness.stop()
        await supervisor.stop()
        for task in background:
            task.cancel()


async def _announce(supervisor: "Supervisor", on_ready: Callable[[str], None], address: str) -> None:
    await supervisor.wait_ready()
    on_ready(address)


def make_coordinator(
    config: ServiceConfig, tokenizer: Tokenizer, store: Store, epoch: int, scoring: Scoring
) -> Coordinator:
    """A coordinator over an opened store."""
    settings, fleet = config.coordinator, config.generator.fleet()
    tools = ToolRunner(tokenizer)
    placement = registry.build("placement", settings.placement, {}, Limits(1, 1, 1, 1))
    core = CoreSettings(
        placement,
        pools=tuple(fleet),
        lease_s=settings.lease_s,
        mute_s=settings.mute_s,
        run_ahead=settings.run_ahead,
        max_attempts=settings.max_attempts,
        max_losses=settings.max_losses,
        kv_hold=settings.kv_hold,
        live_trees=settings.live_trees,
        stage_s=settings.stage_s,
        load_s=settings.load_s,
        finish_s=settings.finish_s,
        read_tokens=read_tokens,
        observe=tools,
        encode=tools.encode,
    )
    state = State(core, next_grant=(epoch << 40) + 1)
    builder = CommitBuilder(tokenizer.prompt_hash, config.generator.logprobs_mode)
    orders = StartOrders(store, stop_ids(config.generator))
    return Coordinator(state, store, epoch, builder, orders, scoring.add)


@dataclass(frozen=True, slots=True)
class Door:
    """A server that has its port and says that it is alive, and in time answers everything else."""

    server: grpc.aio.Server
    port: int
    gate: Gate
    readiness: Readiness
    tokens: Tokens | None
    replicas_know: Pass
    """What replicas know the server by."""

    def admit(self, replica_id: str) -> Pass:
        """With what a process that we start may be this replica, and whoever was it before may not."""
        return replace(self.replicas_know, token=self.tokens.mint(replica_id) if self.tokens else "")

    def answer(self, rollouts: RolloutsApi, replicas: ReplicaPlane, coordinator: Coordinator) -> None:
        """Answer clients and replicas from here on."""
        add_rollouts(rollouts, self.gate)
        replica_pb2_grpc.add_ReplicaPlaneServicer_to_server(replicas, self.gate)
        self.gate.open()
        self.readiness.follow(coordinator)


async def open_door(config: CoordinatorConfig, access: AccessConfig | None = None) -> Door:
    """Listen, answering health checks only.

    Unavailable if that cannot be, with the system's reason; InvalidInput for a certificate or tokens that cannot be.
    """
    access = access or AccessConfig()
    certificate = server_certificate(access)
    tokens = Tokens(access.tokens) if access.tokens else None
    gate, readiness = Gate(), Readiness()
    server = make_server(gate, guards=[Guard(tokens)] if tokens else ())
    port = listen(server, config.host, config.port, certificate.credentials() if certificate else None)
    await readiness.answer_on(gate)
    await server.start()
    known_by = replica_pass(certificate, access.ca)
    return Door(server, port, gate, readiness, tokens, known_by)
