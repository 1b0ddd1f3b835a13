"""The whole service in one process tree: Redis, coordinator and feed, Ray with replicas and scorers.

treeroll serve ── this process: coordinator, feed, supervisor
   ├── redis-server (embedded, unless a URL is given)
   └── Ray ── replica actors (one engine each), scorer workers

With `engine: none` replicas are processes of others (`treeroll replica`), there is no Ray, and scorer workers are
children of this process.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from treeroll.access.config import AccessConfig, check_host
from treeroll.addresses import join
from treeroll.chat.template import ChatTemplate
from treeroll.config import Config, CoordinatorConfig, DashboardConfig, ScorersConfig, StoreConfig
from treeroll.coordinator.door import Door, door_when_free, first_door
from treeroll.coordinator.gc_tuning import tune_gc
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.lost_work import Losses
from treeroll.coordinator.malloc_tuning import tune_malloc
from treeroll.coordinator.persist import CommitBuilder
from treeroll.coordinator.replica_server import first_incarnation
from treeroll.coordinator.reports import read_tokens
from treeroll.coordinator.scoring import Scoring
from treeroll.coordinator.standby import Beats, Standby, open_silent
from treeroll.coordinator.start_messages import StartOrders
from treeroll.coordinator.tick_log import TickLog
from treeroll.coordinator.tool_runner import ToolRunner
from treeroll.core.model.state import CoreSettings, State
from treeroll.errors import InvalidInput, StandsBy, TreerollError, cause_of
from treeroll.foundation import in_thread, running_ray, running_store, shared
from treeroll.generator.config import GeneratorConfig, with_tracing
from treeroll.generator.fleet import fleet_tokenizer, say_stop_ids, stop_ids, with_common_context
from treeroll.generator.fleet_link import FleetLink
from treeroll.generator.ray_config import RayConfig
from treeroll.generator.ray_fleet import check_cluster, check_reachable
from treeroll.lives import Ground, Life, begin, live
from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.scorers.local_worker import LocalWorker
from treeroll.scorers.rules import ScorerRules
from treeroll.store.base import Store
from treeroll.tokenizer import Tokenizer
from treeroll.tracing.config import TracingConfig
from treeroll.tracing.tracer import Tracer

if TYPE_CHECKING:
    from treeroll.generator.cause import Cause
    from treeroll.generator.supervisor import Supervisor
    from treeroll.scorers.pool import ScorerPool
    from treeroll.tracing.recorder import Recorder

T = TypeVar("T")

log = logging.getLogger(__name__)


class ServiceConfig(Config):
    """What `treeroll serve` reads."""

    generator: GeneratorConfig = Field(default_factory=GeneratorConfig)
    ray: RayConfig = Field(default_factory=RayConfig)
    coordinator: CoordinatorConfig = Field(default_factory=CoordinatorConfig)
    store: StoreConfig = Field(default_factory=StoreConfig)
    scorers: ScorersConfig = Field(default_factory=ScorersConfig)
    access: AccessConfig = Field(default_factory=AccessConfig)
    dashboard: DashboardConfig = Field(default_factory=DashboardConfig)
    tracing: TracingConfig = Field(default_factory=TracingConfig)


async def serve(
    config: ServiceConfig,
    on_ready: Callable[[str], None],
    stop: asyncio.Event,
    on_owned: Callable[[str | None], None] = lambda url: None,
) -> None:
    """Run the service until `stop` is set, at whatever point of its start that may be, then take everything down.

    `on_ready` gets "HOST:PORT" once all replicas are ready; `on_owned`, before that, the URL of the store that this
    service is the owner of now, None of one that nobody else can open. Raises InvalidInput for a configuration that
    cannot work, and Unavailable, StoreError or EngineError when a part gives up for good.
    """
    check_host(config.coordinator.host, config.access)
    check_host(config.dashboard.host, config.access, "dashboard.host")
    if _starts_replicas(config):
        config.ray.check(os.environ)
    if config.coordinator.standby and not shared(config.store):
        raise InvalidInput("a service stands by for the owner of a store: give its Redis as store.url (--store)")
    tune_gc()
    tune_malloc()
    try:
        async with AsyncExitStack() as stack:
            # Before anything that takes time or leaves something: a taken port is the commonest failure of all.
            door = await first_door(stack, config.coordinator, config.access)
            base = await _unless(stop, _start_base(stack, config))
            if base is not None and config.coordinator.standby:
                base, door = await _unless(stop, _take_over(stack, base, door)) or (None, None)
            if base is not None and door is not None and await _unless(stop, _is_checked(base, door)):
                on_owned(base.store.url)
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
    """0: the store is not opened, but another's."""
    beats: Beats | None
    """Says that we live, once the store is opened, until the coordinator does."""
    pool: "ScorerPool"
    replica_logs: Path | None
    """Where replicas that we start write to; None: we start none."""
    recorder: "Recorder | None"
    """Of traces."""


async def _start_base(stack: AsyncExitStack, config: ServiceConfig) -> _Base:
    from treeroll.scorers.pool import ScorerPool

    place = config.coordinator.temp_dir
    tokenizer = await in_thread(lambda _: fleet_tokenizer(config.generator))
    await in_thread(lambda _: say_stop_ids(config.generator))
    generator = with_tracing(with_common_context(config.generator, tokenizer), config.tracing)
    config = config.model_copy(update={"generator": generator})
    store = await stack.enter_async_context(running_store(config.store, place))
    stack.push_async_callback(store.close)
    epoch = 0 if config.coordinator.standby else await _opened(store, config.store)
    beats = _beats(stack, store, epoch) if epoch else None
    by_us = _starts_replicas(config)
    starting = running_ray(config.generator, config.ray, place) if by_us else nullcontext()
    ray, _ = await asyncio.gather(stack.enter_async_context(starting), in_thread(lambda _: _load_chat(tokenizer.chat)))
    pool = ScorerPool(config.scorers.workers, None if by_us else LocalWorker.start)
    stack.push_async_callback(pool.stop)
    await pool.start()
    recorder = await in_thread(lambda _: recorder_of(config.tracing))
    if recorder is not None:
        stack.push_async_callback(asyncio.to_thread, recorder.stop)
    return _Base(config, tokenizer, store, epoch, beats, pool, ray.logs if ray else None, recorder)


def _beats(stack: AsyncExitStack, store: Store, epoch: int) -> Beats:
    beats = Beats(store, epoch)
    stack.push_async_callback(beats.stop)
    return beats


async def _opened(store: Store, config: StoreConfig) -> int:
    """The epoch of a store that is ours from here on."""
    return await open_silent(store) if shared(config) else await store.open()


async def _take_over(stack: AsyncExitStack, base: _Base, door: Door | None) -> tuple[_Base, Door]:
    """Go on in the place of the store's owner, with all at hand that takes time, but for engines: they may need what
    the owner's hold."""
    if _starts_replicas(base.config):
        await in_thread(lambda _: import_module("treeroll.generator.supervisor"))
    door = door or await door_when_free(stack, base.config.coordinator, base.config.access)
    here = door

    def tell(refusal: StandsBy) -> None:
        here.gate.refuse_with(refusal)
        here.readiness.stand_by(standby.in_place)

    standby = Standby(base.store, tell)
    epoch = await standby.take_over()
    return replace(base, epoch=epoch, beats=_beats(stack, base.store, epoch)), here


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


async def _serve_on(base: _Base, door: Door, on_ready: Callable[[str], None], stop: asyncio.Event) -> None:
    config, epoch = base.config, base.epoch
    now: list[Life] = []  # the life that goes on
    address = join(config.coordinator.host, door.port)
    supervisor, link = _supervisor(base, door, now) if _starts_replicas(config) else (None, None)
    ground = Ground(
        base.store,
        base.tokenizer,
        base.pool,
        partial(make_coordinator, config, base.tokenizer, base.store, base.recorder),
        config.coordinator.heartbeat_s,
        config.coordinator.keep_weights,
        config.store.keep_acknowledged_s,
        config.store.keep_finished_s or None,
        tokens=config.access.tokens is not None,
        rules=ScorerRules.of(config.scorers, strangers=config.access.tokens is not None),
        autoscale=config.generator.autoscaled(config.coordinator.kv_hold),
    )
    now.append(await begin(ground, epoch, Losses()))
    if base.beats is not None:
        await base.beats.stop()
    async with asyncio.TaskGroup() as group:
        background = [group.create_task(live(ground, door, now[0], partial(now.__setitem__, 0)), name="service")]
        if supervisor and link:
            group.create_task(supervisor.run(), name="supervisor")
            background.append(group.create_task(link.run(), name="link"))
            background.append(group.create_task(_announce(supervisor, on_ready, address), name="announce"))
        else:
            on_ready(address)
        await stop.wait()
        door.readiness.stop()
        if supervisor:
            await supervisor.stop()
        for task in background:
            task.cancel()


async def _is_checked(base: _Base, door: Door) -> bool:
    """True; InvalidInput if the Ray that is to run our replicas cannot, found out at the first start on a store."""
    config = base.config
    if _starts_replicas(config):
        reached = config.coordinator.reached_at(door.port)
        check_reachable(reached, config.ray)
        if base.epoch == 1:
            await check_cluster(config.generator, config.ray, reached, door.replicas_know)
    return True


def _starts_replicas(config: ServiceConfig) -> bool:
    return config.generator.engine != "none"


def _supervisor(base: _Base, door: Door, now: list[Life]) -> "tuple[Supervisor, FleetLink]":
    """Starts our own replicas, and again those that are lost; told to `now`'s one life as any fleet tells it."""
    from treeroll.generator.fleet_hands import join_hands
    from treeroll.generator.supervisor import Supervisor

    link = FleetLink(lambda report: now[0].fleets.exchange(report), "")

    def on_lost(replica_id: str, incarnation: int, cause: "Cause") -> None:
        link.lose(replica_id, supervisor.processes[replica_id], cause.sentence, cause.end)

    def newest(replica_id: str) -> int:
        return now[0].coordinator.state.incarnations.get(replica_id, 0)

    generator, reached = base.config.generator, base.config.coordinator.reached_at(door.port)
    first = first_incarnation(base.epoch)
    supervisor = Supervisor(generator, reached, on_lost, first, newest, base.replica_logs, admit=door.admit)
    supervisor.cluster = not base.config.ray.private
    join_hands(supervisor, link)
    return supervisor, link


async def _announce(supervisor: "Supervisor", on_ready: Callable[[str], None], address: str) -> None:
    await supervisor.wait_ready()
    on_ready(address)


def make_coordinator(
    config: ServiceConfig,
    tokenizer: Tokenizer,
    store: Store,
    recorder: "Recorder | None",
    epoch: int,
    scoring: Scoring,
) -> Coordinator:
    """A coordinator over an opened store, whose traces go to `recorder`."""
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
        tells=config.store.events_mb > 0,
    )
    state = State(core, next_grant=(epoch << 40) + 1)
    builder = CommitBuilder(tokenizer.prompt_hash, config.generator.logprobs_mode)
    orders = StartOrders(store, stop_ids(config.generator))
    log = TickLog(epoch, config.store.events_mb)
    ratio = config.tracing.ratio
    tracer = orders.tracer = Tracer(ratio, recorder, store) if recorder is not None and ratio else None
    return Coordinator(state, store, epoch, builder, orders, scoring.add, log=log, tracer=tracer)


def recorder_of(config: TracingConfig) -> "Recorder | None":
    """Who makes the spans that are asked for; None where nothing is traced. InvalidInput without the extra `otel`."""
    if config.endpoint is None or not config.ratio:
        return None
    try:
        from treeroll.tracing.recorder import recorder_at
    except ImportError as error:
        raise InvalidInput(
            f"tracing.endpoint is {config.endpoint}, and {error.name} is not installed: pip install 'treeroll[otel]'"
        ) from None
    return recorder_at(config.endpoint)
