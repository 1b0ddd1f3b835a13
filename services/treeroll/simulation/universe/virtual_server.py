"""A replica of the universe: the real outbox and sequences, an engine that draws tokens, and calls that break."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from treeroll import __version__
from treeroll.coordinator.reports import END_KINDS
from treeroll.core.model.events import SegmentReported
from treeroll.errors import InvalidInput
from treeroll.generator.outbox import Outbox
from treeroll.generator.sequence import GrantSequence, Sequences
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.policy.base import Delimiter
from treeroll.simulation.language import Payload, read_tokens, text_of
from treeroll.simulation.serving import Serving
from treeroll.simulation.universe.life import Life
from treeroll.simulation.universe.surroundings import Tokens

if TYPE_CHECKING:
    from treeroll.simulation.universe.universe import Universe

BEAT_S = 2.0
RECONNECT_S, RESTART_S = 1.0, 3.0
END_REASONS = {kind: reason for reason, kind in END_KINDS.items()}


@dataclass(frozen=True, slots=True)
class Order:
    """An order to start a branch, as the replica reads it."""

    grant: int
    tree_id: str
    boundaries: Sequence[int]
    hold: bool
    seed: int
    cut_from: int
    delimiter: Delimiter | None


def order_of(start: wire.StartBranch) -> Order:
    """What an engine needs to know of it."""
    delimiter = None
    if start.HasField("delimiter"):
        delimiter = Delimiter(tuple(start.delimiter.texts), tuple(start.delimiter.token_ids))
    return Order(start.grant, start.tree_id, list(start.boundaries), start.hold, start.seed, start.cut_from, delimiter)


class Texts:
    """A detokenizer, as far as sequences need one."""

    def open(self, prefix_ids: Sequence[int]) -> "Texts":
        """Texts do not depend on what comes before."""
        return self

    def step(self, token_ids: Sequence[int]) -> str:
        """The text that these tokens add."""
        return "".join(map(text_of, token_ids))


class Link:
    """One direction of a call: what is sent arrives in order, later, or not at all once the call is cut."""

    def __init__(self, universe: "Universe", arrive: Callable[[object], None]) -> None:
        self._universe, self._arrive = universe, arrive
        self._last = 0.0
        self.cut = False

    def send(self, message: object) -> None:
        """It is on its way."""
        universe, faults = self._universe, self._universe.faults
        at = universe.events.now + 0.02 * universe.random.random()
        if universe.happens(faults.holds):
            universe.note("a message is held")
            at += universe.random.uniform(1.0, 15.0)
        self._last = max(at, self._last)
        universe.events.at(self._last, lambda now: None if self.cut else self._arrive(message))


class Requests:
    """What a handler reads of a call."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[wire.ReplicaMessage | None] = asyncio.Queue()

    def __aiter__(self) -> AsyncIterator[wire.ReplicaMessage]:
        return self

    async def __anext__(self) -> wire.ReplicaMessage:
        message = await self.queue.get()
        if message is None:
            raise StopAsyncIteration
        return message


class Connection:
    """A call of a replica to a life of the coordinator."""

    def __init__(self, universe: "Universe", server: "VirtualServer", life: Life) -> None:
        self.life = life
        self.welcomed = self.is_cut = False
        self._universe, self._server = universe, server
        self._requests = Requests()
        self._to = Link(universe, self._take)
        self._back = Link(universe, lambda message: server.receive(self, message))  # type: ignore[arg-type]
        self._task = life.session(self._requests, self._answer, self._ended)

    def _take(self, message: object) -> None:
        self.life.loop.call_soon(self._requests.queue.put_nowait, message)

    def _ended(self, code: grpc.StatusCode, details: str) -> None:
        self._back.send((code, details))

    def send(self, **body: object) -> None:
        """A message of the replica."""
        if self.is_cut:
            return
        if not self._breaks():
            self._to.send(wire.ReplicaMessage(**body))  # type: ignore[arg-type]

    def _answer(self, message: wire.CoordinatorMessage) -> None:
        if not self._breaks():
            self._back.send(message)

    def _breaks(self) -> bool:
        """Whether the network breaks instead of carrying a message."""
        if self._universe.happens(self._universe.faults.cuts):
            self._universe.note(f"the call of {self._server.name} is cut")
            self.cut()
            self._universe.after(0.05, self._server.disconnected, self)
        return self.is_cut

    def cut(self) -> None:
        """Nothing of it arrives any more, at either end."""
        self.is_cut = self._to.cut = self._back.cut = True
        self.life.loop.call_soon(self._task.cancel)


class VirtualServer:
    """A replica, over all of its incarnations."""

    digest = "of the pool's model"

    def __init__(self, universe: "Universe", name: str) -> None:
        self.name, self.incarnation = name, 0
        self._pool = universe.pool_of[name]
        self._universe = universe
        self._call: Connection | None = None
        self.process = 0
        self.drain: tuple[float, str, bool] | None = None
        """Until when it is to have ended, and why."""
        self._epoch = self._life = 0
        self.start()

    @property
    def key(self) -> tuple[str, int]:
        """Name and incarnation."""
        return self.name, self.incarnation

    def start(self) -> None:
        """A process begins."""
        self.alive = True
        self.process += 1
        self.drain, self._said_goodbye = None, False
        self.loaded = self._staged = self._staging = 0
        self._begin_anew()
        self.connect()
        self._universe.after(BEAT_S, self._beat, self.process)

    def die(self) -> None:
        """With all that it has."""
        self.alive = False
        self._universe.serving.pop(self.key, None)
        if self._call is not None:
            self._call.cut()
            self._call = None
        self._universe.after(RESTART_S, self.start)

    def _begin_anew(self) -> None:
        universe = self._universe
        universe.serving.pop(self.key, None)
        universe.kept.pop(self.key, None)
        self.incarnation += 1
        self._epoch = 0
        self._outbox = Outbox()
        self._sequences = Sequences(Texts())  # type: ignore[arg-type]
        self._of: dict[int, GrantSequence] = {}
        self._run_ahead = 1
        universe.serving[self.key] = {}
        universe.kept[self.key] = {}

    def connect(self) -> None:
        """Until somebody serves."""
        if not self.alive or self._call is not None:
            return
        life = self._universe.succession.life
        if life is None or not life.serves:
            self._universe.after(RECONNECT_S, self.connect)
            return
        self._call = Connection(self._universe, self, life)
        self._call.send(hello=self._hello())

    def bereft(self, life: Life) -> None:
        """Its coordinator is gone: the connection breaks."""
        if (call := self._call) is not None and call.life is life:
            call.is_cut = True
            self._universe.after(0.05, self.disconnected, call)

    def disconnected(self, call: Connection) -> None:
        """A call is over."""
        if self._call is call:
            self._call = None
            self._universe.after(RECONNECT_S * (0.5 + self._universe.random.random()), self.connect)

    def _hello(self) -> wire.Hello:
        live = self._universe.serving[self.key].keys() | self._outbox.grants
        engine = pb.EngineInfo(
            engine="simulated",
            model=f"m{self._pool}",
            block_size=16,
            max_model_len=4096,
            slots=self._universe.slots,
            logprobs_mode="processed",
        )
        return wire.Hello(
            replica_id=self.name,
            incarnation=self.incarnation,
            engine=engine,
            last_seq=self._outbox.last_seq,
            acked_seq=self._outbox.acked_seq,
            live_grants=sorted(live),
            branches=self._sequences.branches(live),
            kept_trees=sorted(self._sequences.trees),
            tokenizer_hash=Tokens.hash,
            pool=self._pool,
            process=self.process,
            weight_version=self.loaded,
            origin=pb.Origin(version=__version__, model_digest=self.digest),
            draining=self._draining(),
        )

    def receive(self, call: Connection, message: wire.CoordinatorMessage | tuple[grpc.StatusCode, str]) -> None:
        """What the coordinator says, or how the call ended."""
        if self._call is not call:
            return
        if isinstance(message, tuple):
            self._judge(call, *message)
        elif message.HasField("welcome"):
            self._welcome(call, message.welcome)
        else:
            self._apply(message.commands)
        self._pump()

    def _judge(self, call: Connection, code: grpc.StatusCode, details: str) -> None:
        self._universe.note(f"{self.name} is told {code.name}: {details}")
        if code is grpc.StatusCode.ABORTED:
            self._begin_anew()
            if self.drain is not None:
                self.die()
                return
        elif code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION):
            if (self._universe.store.lost_at is None or not self.loaded) and not self._universe.is_usurped:
                self._universe.found("RefusedReplica", f"{self.name} is refused: {details}")
            self.die()  # it has weights that the store forgot, or its pool is of another model
            return
        self.disconnected(call)

    def _welcome(self, call: Connection, welcome: wire.Welcome) -> None:
        if welcome.life != self._life and welcome.epoch <= self._epoch:
            if self._universe.store.lost_at is None:
                self._universe.found("StaleFenced", f"{self.name} is welcomed by an older coordinator")
            self._universe.note(f"{self.name} is welcomed by one whose store has forgotten the one that it served")
            self._begin_anew()
            call.cut()
            self.disconnected(call)
            return
        self._epoch, self._life = welcome.epoch, welcome.life
        self._run_ahead = max(1, welcome.run_ahead)
        call.welcomed = True
        self._outbox.acknowledge(welcome.acked_seq)
        self._outbox.rewind()

    def _apply(self, commands: wire.Commands) -> None:
        self._outbox.acknowledge(commands.acked_seq)
        serving = self._universe.serving[self.key]
        for stop in commands.stops:
            if stop.grant in serving:
                serving[stop.grant].stopped = self._of[stop.grant].stopped = True
        for start in commands.starts:
            self._start(start)
        self._sequences.forget(commands.forget_trees)
        if commands.HasField("stage_weights"):
            self._weigh(commands.stage_weights.version, flip=False)
        if commands.HasField("flip_weights"):
            self._weigh(commands.flip_weights.version, flip=True)
        if commands.HasField("draining"):
            told = commands.draining
            self.drain = self._universe.events.now + told.within_s, told.cause, told.preempted

    def _draining(self) -> wire.Draining | None:
        if self.drain is None:
            return None
        until, cause, preempted = self.drain
        within_s = max(0.0, until - self._universe.events.now)
        return wire.Draining(within_s=within_s, cause=cause, preempted=preempted)

    def _weigh(self, version: int, *, flip: bool) -> None:
        """Weights take a while. What is to be staged takes the place of what is on its way, as in `WeightVersions`."""
        universe = self._universe
        if not flip:
            if self._staging == version:
                return  # its answer will come
            self._staging = version
        universe.after(universe.random.expovariate(2.0), self._weighed, self.process, version, flip)

    def _weighed(self, process: int, version: int, flip: bool) -> None:
        if process != self.process or not self.alive:
            return
        universe, state = self._universe, wire.WEIGHTS_STATE_STAGED
        replaced = not flip and version != self._staging
        if not flip and not replaced:
            self._staging = 0
        if replaced:
            state = wire.WEIGHTS_STATE_REFUSED
        elif universe.happens(universe.faults.refused_weights):
            universe.note(f"{self.name} cannot use weights {version}")
            if flip:
                self.die()
                return
            state = wire.WEIGHTS_STATE_REFUSED
        elif flip:
            if version not in (self._staged, self.loaded):
                universe.found("Orders", f"{self.name} is to take weights {version}, and has {self._staged} staged")
                return
            self.loaded, state = version, wire.WEIGHTS_STATE_LOADED
        else:
            self._staged = version
        if self._call is not None and self._call.welcomed:
            report = wire.WeightsReport(version=version, state=state, digest=f"digest {version}", seconds=0.5)
            self._call.send(weights=report)

    def _start(self, start: wire.StartBranch) -> None:
        universe = self._universe
        serving = universe.serving[self.key]
        if start.grant in serving:
            return  # told twice
        try:
            sequence = self._sequences.open(start)
        except InvalidInput as error:
            universe.found("Orders", f"{self.name} cannot start what it is told to: {error}")
            return
        self._of[start.grant] = sequence
        total = len(sequence.ids)
        universe.kept[self.key].setdefault(start.tree_id, {})[start.grant] = total
        serving[start.grant] = Serving(order_of(start), total, sequence.tail(start.prefix_tokens))
        universe.after(universe.random.expovariate(1.0), self.decode, self.incarnation, start.grant)

    def decode(self, incarnation: int, grant: int) -> None:
        """To the next boundary."""
        universe, key = self._universe, (self.name, incarnation)
        serving = universe.serving.get(key, {}).get(grant)
        if serving is None:
            return
        serving.ahead = self._outbox._segments_of[grant] >= self._run_ahead
        first, begun, made = serving.boundary == 0, serving.total, universe.segment(key, serving)
        universe.decoded((serving.start.tree_id, serving.start.seed, begun), made)
        self._outbox.put(self._wire(made, serving, first))
        if made.end is None:
            universe.after(universe.random.expovariate(1.0), self.decode, incarnation, grant)
        self._pump()

    def _wire(self, made: SegmentReported, serving: Serving, first: bool) -> wire.Segment:
        segment = wire.Segment(grant=made.grant, tokens=made.n_tokens, text=made.text, tail=made.tail)
        segment.logprob_sum, segment.logprob_min = made.logprob_sum, made.logprob_min
        sequence = self._of[made.grant]
        if made.n_tokens:
            payload: Payload = made.payload
            tokens = read_tokens(payload)
            segment.logprob_sum = sum(tokens.logprobs)
            segment.logprob_min = min(tokens.logprobs)
            node = wire.SegmentNode(
                token_ids=tokens.ids.tobytes(), logprobs=tokens.logprobs.tobytes(),
                entropies=tokens.entropies.tobytes(),
                weight_versions=[pb.WeightSpan(version=self.loaded, tokens=made.n_tokens)],
                parent_chars=sequence.parent_chars if first else None,
                started_at=1.0, finished_at=2.0,
            )  # fmt: skip
            segment.node = node.SerializeToString()
            sequence.extend(array("i", payload.tokens), made.text)
        if made.cached_tokens is not None:
            segment.cached_tokens = made.cached_tokens
        if made.end is not None:
            segment.end.CopyFrom(wire.BranchEnd(reason=END_REASONS[made.end], dropped_tokens=made.dropped_tokens))
        return segment

    def _beat(self, process: int) -> None:
        if process != self.process or not self.alive:
            return
        if self._call is not None and self._call.welcomed:
            self._call.send(heartbeat=wire.Heartbeat(generated_tokens=0))
        self._universe.after(BEAT_S, self._beat, process)

    def _pump(self) -> None:
        call = self._call
        while call is not None and call.welcomed and not call.is_cut and (report := self._outbox.next_report()):
            call.send(report=report)
        done = self.drain is not None and not self._universe.serving.get(self.key) and not len(self._outbox)
        if done and call is not None and call.welcomed and not call.is_cut and not self._said_goodbye:
            self._said_goodbye = True
            call.send(goodbye=wire.Goodbye())
            self._universe.after(0.1, self._go, self.process)

    def _go(self, process: int) -> None:
        if process == self.process and self.alive:
            self.die()
