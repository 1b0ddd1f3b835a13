"""A real service for the tests of a trainer: no Ray, no Redis, no model to load, and up in a fraction of a second.

    from treeroll.testing.service import running_service

    def test_my_trainer_learns():
        with running_service(replicas=2) as address:
            client = treeroll.connect(address)
            ...

Coordinator, feed and gRPC are those of `treeroll serve`. What is simulated is the engine: replicas write the demo
model's language by chance (`generator.engine: simulated`), in this process, so what they say is nonsense that ends and
can be scored. `local_service` is the same for asyncio, and shows its parts. Needs the extra `service`.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from treeroll.access.config import AccessConfig
from treeroll.addresses import join
from treeroll.autoscale.terms import Terms
from treeroll.channels import Pass
from treeroll.config import CoordinatorConfig, ScorersConfig, StoreConfig
from treeroll.coordinator.door import open_door
from treeroll.coordinator.loop import Coordinator, Item
from treeroll.coordinator.lost_work import Losses
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.coordinator.retention import Retention
from treeroll.coordinator.standby import Standby
from treeroll.core.model.events import ReplicaLost
from treeroll.demo import MODEL_DIR
from treeroll.errors import Unavailable
from treeroll.generator.config import GeneratorConfig, SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Engine
from treeroll.generator.fleet import fleet_tokenizer
from treeroll.generator.replica import Replica
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.lives import Ground, Life, begin, live
from treeroll.scorers.base import ScoringService
from treeroll.scorers.inline import InlineScorers
from treeroll.scorers.rules import ScorerRules
from treeroll.service import ServiceConfig, make_coordinator
from treeroll.store.base import Store
from treeroll.store.memory import MemoryStore
from treeroll.tokenizer import Tokenizer
from treeroll.tracing.config import TracingConfig

if TYPE_CHECKING:
    from treeroll.tracing.recorder import Recorder


@dataclass
class LocalService:
    """A running service: its address, and its parts for tests that look inside."""

    address: str
    life: Life
    """The one that goes on: a store that went back in time is taken up by another."""
    store: Store
    tokenizer: Tokenizer
    """The tokenizer of the service's model, which all replicas are of."""
    admit: Callable[[str], Pass]
    """With what a replica may join."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    """The service's own comes first; replicas follow."""

    @property
    def coordinator(self) -> Coordinator:
        """Of the life that goes on."""
        return self.life.coordinator

    @property
    def replicas(self) -> ReplicaPlane:
        """Its sessions with replicas."""
        return self.life.replicas

    @property
    def retention(self) -> Retention:
        """What it gives back of its store."""
        return self.life.retention

    def start_replica(
        self,
        replica_id: str,
        incarnation: int = 1,
        slots: int = 16,
        latency: SimulatedLatency | None = None,
        pool: str = "",
    ) -> asyncio.Task[None]:
        """A simulated replica; cancelling the task is its death."""
        engine = SimulatedEngine(
            Detokenizer(self.tokenizer.model_dir).tokenizer,
            slots=slots,
            max_model_len=1024,
            latency=latency or SimulatedLatency(step_s=0.0),
        )
        return self.serve_engine(engine, replica_id, incarnation, pool)

    def serve_engine(self, engine: Engine, replica_id: str, incarnation: int = 1, pool: str = "") -> asyncio.Task[None]:
        """A replica over any engine, in this process."""
        detokenizer = Detokenizer(self.tokenizer.model_dir)
        replica = Replica(engine, detokenizer, replica_id, incarnation, self.address, pool, self.admit(replica_id))
        task = asyncio.create_task(replica.run(), name=replica_id)
        self.tasks.append(task)
        return task

    async def joined(self, timeout_s: float = 120) -> None:
        """Return once every replica that was started has been welcomed. Unavailable after `timeout_s` seconds."""
        wanted = {task.get_name() for task in self.tasks[1:] if not task.done()}
        deadline = time.monotonic() + timeout_s
        while missing := wanted - self._welcomed():
            if time.monotonic() > deadline:
                raise Unavailable(f"replicas {', '.join(sorted(missing))} have not joined within {timeout_s:g} s")
            await asyncio.sleep(0.01)

    def _welcomed(self) -> set[str]:
        """Replicas that are to have work, and have sessions."""
        sessions = {name for name, session in self.replicas.sessions.items() if not session.lost}
        return sessions & self.coordinator.state.replicas.keys()

    def lose(self, replica_id: str, incarnation: int) -> None:
        """What the supervisor says when a replica's process has died."""
        self.coordinator.post_nowait(Item([ReplicaLost(replica_id, incarnation, "its process died")]))


@asynccontextmanager
async def local_service(  # noqa: PLR0913  # what tests vary
    store: Store | None = None,
    coordinator: CoordinatorConfig | None = None,
    pools: Sequence[str] = (),
    model: Path = MODEL_DIR,
    chat_template: Path | None = None,
    access: AccessConfig | None = None,
    allowed: ScorersConfig | None = None,
    keep_acknowledged_s: float | None = None,
    keep_finished_s: float | None = None,
    scorers: ScoringService | None = None,
    events_mb: int = 64,
    recorder: "Recorder | None" = None,
    trace_ratio: float = 1.0,
    autoscale: Mapping[str, Terms] | None = None,
) -> AsyncIterator[LocalService]:
    """Start everything but replicas; stop it all at the end. `pools` names models; all are the same one. Trees expire
    so many seconds after all groups have acknowledged them, runs after they ended, if that is given. Decisions are
    logged if there are megabytes for them. That share of trees is traced, if there is a recorder. Pools that are in
    `autoscale` follow their demand. One that stands by listens when it has taken the store over, not before."""
    models = {"pools": {name: {"model": model} for name in pools}} if pools else {"model": model}
    config = ServiceConfig(
        generator=GeneratorConfig.model_validate({**models, "chat_template": chat_template}),
        coordinator=coordinator or CoordinatorConfig(port=0, heartbeat_s=0.2, lease_s=2.0),
        store=StoreConfig(events_mb=events_mb),
        tracing=TracingConfig(ratio=trace_ratio),
    )
    store = store or MemoryStore()
    tokenizer = fleet_tokenizer(config.generator)
    tokens = access is not None and access.tokens is not None
    ground = Ground(
        store,
        tokenizer,
        scorers or InlineScorers(),
        partial(make_coordinator, config, tokenizer, store, recorder),
        config.coordinator.heartbeat_s,
        config.coordinator.keep_weights,
        keep_acknowledged_s,
        keep_finished_s,
        tokens=tokens,
        rules=ScorerRules.of(allowed or ScorersConfig(), strangers=tokens),
        autoscale=autoscale or {},
    )
    standby = Standby(store, lambda why: None) if config.coordinator.standby else None
    epoch = await (standby.take_over() if standby else store.open())
    life = await begin(ground, epoch, Losses())
    door = await open_door(config.coordinator, access)
    service = LocalService(join(config.coordinator.host, door.port), life, store, tokenizer, door.admit)
    service.tasks.append(
        asyncio.create_task(live(ground, door, life, partial(setattr, service, "life")), name="service")
    )
    try:
        yield service
        if service.tasks[0].done():
            await service.tasks[0]
    finally:
        for task in service.tasks:
            task.cancel()
        await asyncio.gather(*service.tasks, return_exceptions=True)
        await door.close(0.2)
        await store.close()


@contextmanager
def running_service(
    replicas: int = 1,
    *,
    slots: int = 16,
    latency: SimulatedLatency | None = None,
    store: Store | None = None,
    coordinator: CoordinatorConfig | None = None,
) -> Iterator[str]:
    """Run a service with simulated replicas on a thread of its own; gives the address that `treeroll.connect` takes.

    Args:
        replicas: How many of them, 1 or more; their names are r0, r1, ...
        slots: Branches that each of them decodes at once.
        latency: How long an engine's steps take, seconds; as fast as they can be unless given.
        store: Where trees are kept; in memory unless given.
        coordinator: Settings of the coordinator. The port should be 0, which is any that is free.

    Raises:
        Unavailable: the port is taken, or the replicas do not join.
    """
    ready: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        async with local_service(store, coordinator) as service:
            for number in range(replicas):
                service.start_replica(f"r{number}", slots=slots, latency=latency)
            await service.joined()
            ready.set_result((service.address, asyncio.get_running_loop(), stop))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=run, name="treeroll-service", daemon=True)
    thread.start()
    try:
        address, loop, stop = ready.result()
        try:
            yield address
        finally:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join()
