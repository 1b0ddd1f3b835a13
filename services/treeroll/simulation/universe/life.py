"""One life of a coordinator: the real loop, replica plane, feed and recovery, over a store that others had before."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any, NoReturn, Protocol

import grpc

from treeroll.coordinator.loop import CommandSink, Coordinator, Item
from treeroll.coordinator.persist import CommitBuilder
from treeroll.coordinator.prospects import Prospects
from treeroll.coordinator.recovery import Means, recover
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.coordinator.start_messages import StartOrders
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.state import CoreSettings, State
from treeroll.errors import StoreDown, TreerollError
from treeroll.feed.feed import Feed
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.scorers.inline import InlineScorers
from treeroll.scorers.rules import ANYTHING
from treeroll.simulation.language import EOS
from treeroll.simulation.universe.faulty_store import FaultyStore
from treeroll.simulation.universe.virtual_loop import VirtualLoop

HEARTBEAT_S = 2.0
VOCABULARY = 100
OPEN_AGAIN_S = 1.0


class Crash(BaseException):
    """The process dies here."""


class World(Protocol):
    """What a life needs of the universe around it."""

    store: FaultyStore
    coordinator_class: type["Observed"]

    def point(self, where: str) -> None:
        """The coordinator is between two things that it does: it may die."""

    def ticked(self, life: "Life") -> None:
        """A tick is durable, and nothing of it is carried out yet."""

    def score(self, life: "Life", live: LiveTree, node: int) -> None:
        """A leaf is to be scored, or a path to be judged."""

    def recovered(self, life: "Life") -> None:
        """It has taken up what it found."""


class Tokens:
    """What the plane reads of the service's tokenizer."""

    hash = "tokenizer"
    vocab_size = VOCABULARY
    max_model_len = 0


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


class Call:
    """What a handler is told of the call that it answers."""

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with an error."""
        raise Aborted(code, details)


class Aborted(Exception):
    """A call ended with an error."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details


class Life:
    """A coordinator from its start to its death. It serves from when it has taken up what it found."""

    def __init__(self, world: World, settings: CoreSettings, loop: VirtualLoop) -> None:
        self.loop = loop
        self.serves = False
        self.epoch = 0
        self._world, self._settings = world, settings
        self.coordinator: Observed
        self.feed: Feed
        self.plane: ReplicaPlane
        loop.start(self._begin())

    async def _begin(self) -> None:
        world, store = self._world, self._world.store
        while True:
            try:
                self.epoch = await store.open()
                break
            except StoreDown:
                await asyncio.sleep(OPEN_AGAIN_S)
        state = State(self._settings, next_grant=(self.epoch << 40) + 1)
        builder = CommitBuilder("prompts", "raw_logprobs")
        orders = StartOrders(store, {name: [EOS] for name in state.pools})
        coordinator = self.coordinator = world.coordinator_class(
            state, store, self.epoch, builder, orders, partial(world.score, self), sessions=Sinks(world.point)
        )
        coordinator.point = world.point
        coordinator.on_tick = lambda: world.ticked(self)
        prospects = Prospects(state)
        self.feed = Feed(store, prospects.outlook, prospects.terms)
        coordinator.on_emit = self.feed.notify
        self.plane = ReplicaPlane(coordinator, HEARTBEAT_S, Tokens())  # type: ignore[arg-type]
        await recover(coordinator, Means(Tokens(), InlineScorers(), ANYTHING), {})  # type: ignore[arg-type]
        world.recovered(self)
        self.loop.start(coordinator.keep_time())
        self.serves = True
        await coordinator.run()

    def ask(
        self, work: Callable[[], Coroutine[Any, Any, Any]], answer: Callable[[Any, Exception | None], None]
    ) -> None:
        """A unary call: its handler runs here, and so does what takes its answer."""

        async def handle() -> None:
            try:
                got = await work()
            except (TreerollError, Aborted) as error:
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
        return self.loop.errors[0] if self.loop.errors else None
