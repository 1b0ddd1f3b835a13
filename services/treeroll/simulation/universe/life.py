"""One life of a coordinator: the service's real parts, over a store that others had before."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import grpc

from treeroll.coordinator.api import RolloutsApi
from treeroll.coordinator.fleet_plane import FleetPlane
from treeroll.coordinator.loop import CommandSink, Coordinator, Item
from treeroll.coordinator.lost_work import Losses
from treeroll.coordinator.persist import CommitBuilder
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.coordinator.scoring import Scoring
from treeroll.coordinator.start_messages import StartOrders
from treeroll.core.model.state import CoreSettings, State
from treeroll.errors import StoreDown, TreerollError, cause_of
from treeroll.lives import Ground, begin, live
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.simulation.language import EOS
from treeroll.simulation.universe.surroundings import Aborted, Call, Tokens, VirtualScorers
from treeroll.simulation.universe.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from treeroll.simulation.universe.universe import Universe

HEARTBEAT_S = 2.0
OPEN_AGAIN_S = 1.0
KEEP_WEIGHTS = 2


class Crash(BaseException):
    """The process dies here."""


class Sinks(dict[tuple[str, int], CommandSink]):
    """Sessions, which are looked up once for each effect: a coordinator may die before any."""

    def __init__(self, point: Callable[[str], None]) -> None:
        super().__init__()
        self._point = point

    def get(self, key: Any, default: Any = None) -> Any:
        """Where the next command goes."""
        self._point("effect")
        return super().get(key, default)


class Observed(Coordinator):
    """The coordinator as it is, which may die before anybody is told that something is done."""

    point: Callable[[str], None]

    async def post(self, item: Item) -> None:
        """Queue events."""
        self._watch(item)
        await super().post(item)

    def post_nowait(self, item: Item) -> None:
        """Queue events."""
        self._watch(item)
        super().post_nowait(item)

    def _watch(self, item: Item) -> None:
        told = item.done
        if told is None:
            return

        def done(error: TreerollError | None) -> None:
            self.point("answer")
            told(error)

        item.done = done


class Life:
    """A process with a coordinator, from its start to its death. It serves from when it has taken up what it found, and
    goes on as `lives` has it when its store went back in time."""

    def __init__(self, world: "Universe", settings: CoreSettings, loop: VirtualLoop) -> None:
        self.loop = loop
        self.serves = False
        self._world, self._settings = world, settings
        self.coordinator: Observed
        self.plane: ReplicaPlane
        self.fleets: FleetPlane
        self.api: RolloutsApi
        loop.start(self._begin())

    @property
    def epoch(self) -> int:
        """Of its present coordinator."""
        return self.coordinator.epoch

    async def _begin(self) -> None:
        world, store = self._world, self._world.store
        while True:
            try:
                epoch = await store.open()
                break
            except StoreDown:
                await asyncio.sleep(OPEN_AGAIN_S)
        ground = Ground(
            store, Tokens(), VirtualScorers(world, self), self._coordinator, HEARTBEAT_S, KEEP_WEIGHTS,  # type: ignore[arg-type]
            world.work.keep_acknowledged_s, world.work.keep_finished_s, chance=world.random,
        )  # fmt: skip
        first = await begin(ground, epoch, Losses())
        await live(ground, self, first, lambda life: None)

    def _coordinator(self, epoch: int, scoring: Scoring) -> Observed:
        world, store = self._world, self._world.store
        state = State(self._settings, next_grant=(epoch << 40) + 1)
        builder = CommitBuilder("prompts", "processed")
        orders = StartOrders(store, {name: [EOS] for name in state.pools})
        made = world.coordinator_class(
            state, store, epoch, builder, orders, scoring.add, sessions=Sinks(world.point)
        )  # fmt: skip
        made.point, made.on_tick = world.point, lambda: world.ticked(self, made)
        self.coordinator = made
        return made

    def answer(
        self, rollouts: RolloutsApi, replicas: ReplicaPlane, fleets: FleetPlane, coordinator: Coordinator
    ) -> None:
        """From here on these answer: the process' own door."""
        self.api, self.plane, self.fleets, self.serves = rollouts, replicas, fleets, True
        self._world.recovered(self)

    def ask(self, work: Callable[[], Coroutine[Any, Any, Any]], answer: Callable[[Any, Aborted | None], None]) -> None:
        """A unary call: its handler runs here, and so does what takes its answer."""

        async def handle() -> None:
            try:
                got = await work()
            except Aborted as error:
                answer(None, error)
            else:
                answer(got, None)

        self.loop.start(handle())

    def session(
        self,
        requests: AsyncIterator[wire.ReplicaMessage],
        send: Callable[[wire.CoordinatorMessage], None],
        ended: Callable[[grpc.StatusCode, str], None],
    ) -> "asyncio.Task[None]":
        """A replica's call, until one side is done with it."""

        async def serve() -> None:
            try:
                async for message in self.plane.Session(requests, Call()):
                    send(message)
            except Aborted as aborted:
                ended(aborted.code, aborted.details)
            else:
                ended(grpc.StatusCode.OK, "")

        return self.loop.start(serve())

    @property
    def ended_by(self) -> BaseException | None:
        """Why the process ended by itself, or must."""
        return cause_of(self.loop.errors[0]) if self.loop.errors else None
