"""The whole service in one process tree: Redis, coordinator and feed, Ray with replicas and scorers.

treeroll serve ── this process: coordinator, feed, supervisor
   ├── redis-server (embedded, unless a URL is given)
   └── Ray ── replica actors (one engine each), scorer workers
"""

import asyncio
import logging
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from pydantic import Field

from treeroll.addresses import is_loopback, join
from treeroll.channels import listen, make_server
from treeroll.chat.template import ChatTemplate
from treeroll.config import Config, CoordinatorConfig, ScorersConfig, StoreConfig
from treeroll.coordinator.api import RolloutsApi, add_rollouts
from treeroll.coordinator.gc_tuning import tune_gc
from treeroll.coordinator.loop import Coordinator, Item
from treeroll.coordinator.malloc_tuning import tune_malloc
from treeroll.coordinator.persist import CommitBuilder
from treeroll.coordinator.readiness import Readiness
from treeroll.coordinator.reports import read_tokens
from treeroll.coordinator.scoring import Scoring
from treeroll.coordinator.sessions import ReplicaPlane
from treeroll.coordinator.starts import StartOrders
from treeroll.coordinator.tools import ToolDesk
from treeroll.core.model.events import ReplicaLost
from treeroll.core.model.state import CoreSettings, State
from treeroll.core.scheduling import runs
from treeroll.errors import InvalidInput, TreerollError
from treeroll.feed.feed import Feed
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.fleet import fleet_tokenizer, say_stop_ids, stop_ids, with_common_context
from treeroll.pb.v1 import replica_pb2_grpc
from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.store.base import Store
from treeroll.tokenizer import Tokenizer

if TYPE_CHECKING:
    from treeroll.generator.supervisor import Supervisor

log = logging.getLogger(__name__)

INCARNATIONS_PER_EPOCH = 10_000


class ServiceConfig(Config):
    """What `treeroll serve` reads."""

    generator: GeneratorConfig = Field(default_factory=GeneratorConfig)
    coordinator: CoordinatorConfig = Field(default_factory=CoordinatorConfig)
    store: StoreConfig = Field(default_factory=StoreConfig)
    scorers: ScorersConfig = Field(default_factory=ScorersConfig)


async def serve(config: ServiceConfig, on_ready: Callable[[str], None], stop: asyncio.Event) -> None:
    """Run the service until `stop` is set, then take everything down.

    `on_ready` gets "HOST:PORT" once all replicas are ready. Raises InvalidInput for a configuration that cannot work,
    and Unavailable, StoreError or EngineError when a part gives up for good.
    """
    if not is_loopback(config.coordinator.host):
        raise InvalidInput(
            f"coordinator.host is {config.coordinator.host}; without TLS and tokens treeroll serves loopback only"
        )
    tokenizer = fleet_tokenizer(config.generator)
    say_stop_ids(config.generator)
    config = config.model_copy(update={"generator": with_common_context(config.generator, tokenizer)})
    tune_gc()
    tune_malloc()
    try:
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(_store(config.store))
            stack.push_async_callback(store.close)
            epoch = await store.open()
            await asyncio.gather(_start_ray(stack, config.generator), asyncio.to_thread(_load_chat, tokenizer.chat))
            await _serve_on(stack, config, tokenizer, store, epoch, on_ready, stop)
    except* TreerollError as failures:
        raise _first(failures) from None


def _first(failures: BaseExceptionGroup[TreerollError]) -> TreerollError:
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, TreerollError) else TreerollError(str(error))


def _load_chat(template: ChatTemplate) -> None:
    """Load what renders messages, which takes seconds: the first task that has any would wait for it."""
    try:
        template.load()
    except InvalidInput as error:
        log.warning("tasks with 'messages' will be refused: %s", error)


async def _start_ray(stack: AsyncExitStack, config: GeneratorConfig) -> None:
    from treeroll.generator.ray_local import start_local_ray, stop_local_ray

    stack.push_async_callback(asyncio.to_thread, stop_local_ray)
    # One CPU per replica, whatever the machine has: replicas pin themselves. One more for scorers.
    replicas = sum(pool.replicas for pool in config.fleet().values())
    await asyncio.to_thread(start_local_ray, replicas + 1)


async def _serve_on(
    stack: AsyncExitStack,
    config: ServiceConfig,
    tokenizer: Tokenizer,
    store: Store,
    epoch: int,
    on_ready: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    from treeroll.generator.supervisor import Supervisor
    from treeroll.scorers.pool import ScorerPool

    pool = ScorerPool(config.scorers.workers)
    stack.push_async_callback(pool.stop)
    await pool.start()
    timeouts: dict[str, float] = {}
    scoring = Scoring(pool, timeouts)
    coordinator = make_coordinator(config, tokenizer, store, epoch, scoring)
    feed = Feed(store, partial(runs.outlook, coordinator.state))
    coordinator.on_emit = feed.notify
    replicas = ReplicaPlane(coordinator, config.coordinator.heartbeat_s, tokenizer)
    restarts: Counter[str] = Counter()

    def on_lost(replica_id: str, incarnation: int, cause: str) -> None:
        restarts[replica_id] += 1
        coordinator.post_nowait(Item([ReplicaLost(replica_id, incarnation, cause)]))

    readiness = Readiness(coordinator)
    rollouts = RolloutsApi(coordinator, replicas, feed, tokenizer, timeouts, restarts)
    server, port = await start_server(config.coordinator, rollouts, replicas, readiness)
    stack.push_async_callback(server.stop, 1.0)
    address = join(config.coordinator.host, port)
    # Engine seeds come from incarnations: a service that starts again on the same store must not sample the same noise.
    first_incarnation = (epoch - 1) * INCARNATIONS_PER_EPOCH + 1
    supervisor = Supervisor(config.generator, address, on_lost, first_incarnation)
    async with asyncio.TaskGroup() as group:
        background = [
            group.create_task(coordinator.run(), name="coordinator"),
            group.create_task(coordinator.keep_time(), name="clock"),
            group.create_task(scoring.run(coordinator), name="scoring"),
        ]
        if config.generator.engine != "none":
            group.create_task(supervisor.run(), name="supervisor")
            background.append(group.create_task(_announce(supervisor, on_ready, address), name="announce"))
        else:
            on_ready(address)
        await stop.wait()
        readiness.stop()
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
    desk = ToolDesk(tokenizer)
    placement = registry.build("placement", settings.placement, {}, Limits(1, 1, 1, 1))
    core = CoreSettings(
        placement,
        pools=tuple(fleet),
        lease_s=settings.lease_s,
        run_ahead=settings.run_ahead,
        max_attempts=settings.max_attempts,
        max_losses=settings.max_losses,
        kv_hold=settings.kv_hold,
        live_trees=settings.live_trees,
        read_tokens=read_tokens,
        observe=desk,
        encode=desk.encode,
    )
    state = State(core, next_grant=(epoch << 40) + 1)
    builder = CommitBuilder(tokenizer.hash, config.generator.logprobs_mode)
    orders = StartOrders(store, stop_ids(config.generator))
    return Coordinator(state, store, epoch, builder, orders, scoring.add)


async def start_server(
    config: CoordinatorConfig, rollouts: RolloutsApi, replicas: ReplicaPlane, readiness: Readiness
) -> tuple[grpc.aio.Server, int]:
    """Listen for clients and replicas. Unavailable if that cannot be, with the system's reason."""
    server = make_server()
    add_rollouts(rollouts, server)
    replica_pb2_grpc.add_ReplicaPlaneServicer_to_server(replicas, server)
    await readiness.answer_on(server)
    port = listen(server, config.host, config.port)
    await server.start()
    return server, port


@asynccontextmanager
async def _store(config: StoreConfig) -> AsyncIterator[Store]:
    """The configured store, not opened; an embedded Redis runs as long as the context."""
    from treeroll.store.embedded import EmbeddedRedis
    from treeroll.store.factory import make_store

    if config.url is not None:
        yield make_store(config.url, config.durability)
        return
    with tempfile.TemporaryDirectory(prefix="treeroll-") as temporary:
        server = EmbeddedRedis(config.dir or Path(temporary), durability=config.durability)
        await asyncio.to_thread(server.start)
        try:
            yield make_store(server.url, config.durability)
        finally:
            await asyncio.to_thread(server.stop)
