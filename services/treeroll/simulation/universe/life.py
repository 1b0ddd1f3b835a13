"""One life of a coordinator: the service's real parts, over a store that others had before."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import grpc

from treeroll.coordinator.api import RolloutsApi
from treeroll.coordinator.loop import CommandSink, Coordinator, Item
from treeroll.coordinator.persist import CommitBuilder
from treeroll.coordinator.prospects import Prospects
from treeroll.coordinator.recovery import Means, recover
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.coordinator.retention import Retention
from treeroll.coordinator.scoring import Scoring
from treeroll.coordinator.start_messages import StartOrders
from treeroll.coordinator.weights import restore
from treeroll.core.model.state import CoreSettings, State
from treeroll.errors import StoreDown, TreerollError, cause_of
from treeroll.feed.feed import Feed
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.scorers.rules import ANYTHING
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
    """A coordinator from its start to its death. It serves from when it has taken up what it found."""

    def __init__(self, world: "Universe", settings: CoreSettings, loop: VirtualLoop) -> None:
        self.loop = loop
        self.serves = False
        self.epoch = 0
        self._world, self._settings = world, settings
        self.coordinator: Observed
        self.plane: ReplicaPlane
        self.api: RolloutsApi
        loop.start(self._begin())

    async def _begin(self) -> None:
        """As `service` does it."""
        world, store, tokens = self._world, self._world.store, Tokens()
        while True:
            try:
                self.epoch = await store.open()
                break
            except StoreDown:
                await asyncio.sleep(OPEN_AGAIN_S)
        state = State(self._settings, next_grant=(self.epoch << 40) + 1)
        builder = CommitBuilder("prompts", "raw_logprobs")
        orders = StartOrders(store, {name: [EOS] for name in state.pools})
        timeouts: dict[str, float] = {}
        scorers = VirtualScorers(world, self)
        scoring = Scoring(scorers, timeouts)
        coordinator = self.coordinator = world.coordinator_class(
            state, store, self.epoch, builder, orders, scoring.add, sessions=Sinks(world.point)
        )
        coordinator.point = world.point
        coordinator.on_tick = lambda: world.ticked(self)
        await restore(coordinator)
        await recover(coordinator, Means(tokens, scorers, ANYTHING), timeouts)  # type: ignore[arg-type]
        prospects = Prospects(state)
        feed = Feed(store, prospects.outlook, prospects.terms)
        coordinator.on_emit = feed.notify
        self.plane = ReplicaPlane(coordinator, HEARTBEAT_S, tokens)  # type: ignore[arg-type]
        retention = Retention(coordinator, world.work.keep_acknowledged_s, world.work.keep_finished_s)
        self.api = RolloutsApi(
            coordinator, self.plane, feed, tokens, timeouts, {}, retention, scorers, KEEP_WEIGHTS, prospects  # type: ignore[arg-type]
        )  # fmt: skip
        world.recovered(self)
        for work in (coordinator.keep_time(), scoring.run(coordinator), retention.run()):
            self.loop.start(work)
        self.serves = True
        await coordinator.run()

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
