"""The service in this process: coordinator, feed and gRPC over any store, with simulated replicas on the same loop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.support.eventually import eventually

from treeroll.config import CoordinatorConfig
from treeroll.coordinator.api import RolloutsApi
from treeroll.coordinator.loop import Coordinator, Item
from treeroll.coordinator.scoring import Scoring
from treeroll.coordinator.sessions import ReplicaPlane
from treeroll.core.model.events import ReplicaLost
from treeroll.core.scheduling import runs
from treeroll.demo import MODEL_DIR
from treeroll.feed.feed import Feed
from treeroll.generator.config import GeneratorConfig, SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Engine
from treeroll.generator.replica import Replica
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.scorers.inline import InlineScorers
from treeroll.service import ServiceConfig, make_coordinator, start_server
from treeroll.store.base import Store
from treeroll.store.memory import MemoryStore
from treeroll.tokenizer import Tokenizer

# Tasks of the service itself come first in `LocalService.tasks`; replicas follow.
SERVICE_TASKS = 3


@dataclass
class LocalService:
    """A running service: its address, and its parts for tests that look inside."""

    address: str
    coordinator: Coordinator
    replicas: ReplicaPlane
    store: Store
    tokenizer: Tokenizer
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

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
            Detokenizer(MODEL_DIR).tokenizer,
            slots=slots,
            max_model_len=1024,
            latency=latency or SimulatedLatency(step_s=0.0),
        )
        return self.serve_engine(engine, replica_id, incarnation, pool)

    def serve_engine(self, engine: Engine, replica_id: str, incarnation: int = 1, pool: str = "") -> asyncio.Task[None]:
        """A replica over any engine, in this process."""
        replica = Replica(engine, Detokenizer(MODEL_DIR), replica_id, incarnation, self.address, pool)
        task = asyncio.create_task(replica.run(), name=replica_id)
        self.tasks.append(task)
        return task

    async def joined(self, timeout_s: float = 20) -> None:
        """Return once every replica that was started has been welcomed."""
        wanted = {task.get_name() for task in self.tasks[SERVICE_TASKS:] if not task.done()}

        async def all_there() -> bool:
            return wanted <= self.coordinator.state.replicas.keys()

        await eventually(all_there, timeout_s)

    def lose(self, replica_id: str, incarnation: int) -> None:
        """What the supervisor says when a replica's process has died."""
        self.coordinator.post_nowait(Item([ReplicaLost(replica_id, incarnation, "its process died")]))


@asynccontextmanager
async def local_service(
    store: Store | None = None,
    coordinator: CoordinatorConfig | None = None,
    pools: Sequence[str] = (),
) -> AsyncIterator[LocalService]:
    """Start everything but replicas; stop it all at the end. `pools` names models; all are the demo model."""
    config = ServiceConfig(
        generator=GeneratorConfig(pools={name: {"model": MODEL_DIR} for name in pools}),
        coordinator=coordinator or CoordinatorConfig(port=0, heartbeat_s=0.2, lease_s=2.0),
    )
    store = store or MemoryStore()
    tokenizer = Tokenizer.load(MODEL_DIR)
    timeouts: dict[str, float] = {}
    scoring = Scoring(InlineScorers(), timeouts)
    core = make_coordinator(config, tokenizer, store, await store.open(), scoring)
    feed = Feed(store, partial(runs.outlook, core.state))
    core.on_emit = feed.notify
    plane = ReplicaPlane(core, config.coordinator.heartbeat_s, tokenizer)
    rollouts = RolloutsApi(core, plane, feed, tokenizer, timeouts, {})
    server, port = await start_server(config.coordinator, rollouts, plane)
    jobs = (core.run(), core.keep_time(), scoring.run(core))
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield LocalService(f"127.0.0.1:{port}", core, plane, store, tokenizer, tasks)
        failed = [task for task in tasks[:SERVICE_TASKS] if task.done()]
        if failed:
            await failed[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.stop(0.2)
        await store.close()
