"""Replica sessions: the ReplicaPlane server. Reports become events, durable reports become acknowledgements."""

import asyncio
import logging
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import grpc

from treeroll import clock
from treeroll.access.identity import check_may_be
from treeroll.coordinator.admission import check_hello, node_of, serves
from treeroll.coordinator.claims import claims_of
from treeroll.coordinator.loop import Coordinator, Item
from treeroll.coordinator.replica_session import ReplicaSession
from treeroll.coordinator.reports import segments_of
from treeroll.coordinator.session_marks import Mark
from treeroll.core.model.events import (
    Event,
    LossKind,
    ReplicaFaulted,
    ReplicaHeard,
    ReplicaJoined,
    ReplicaLost,
    WeightsReported,
)
from treeroll.core.model.fleet import Drain
from treeroll.core.model.weights import WeightsAnswer
from treeroll.errors import (
    BadReport,
    BrokenInvariant,
    Fenced,
    StoreDown,
    TreerollError,
    Unavailable,
    grpc_code,
)
from treeroll.failpoints import reach
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.pb.v1 import replica_pb2_grpc
from treeroll.sparing_log import Sparing
from treeroll.tokenizer import Tokenizer

log = logging.getLogger(__name__)
log.addFilter(Sparing())

# How long a call may take to say whose it is, seconds; up to twice that, so that thousands do not end at once.
HELLO_S = 10.0
# A lost replica is told of for so long after it was heard last, seconds: names come and go with the nodes.
FORGOTTEN_S = 3600.0
# A drain that says another time, or none that can be, ends then.
LONGEST_DRAIN_S = 7 * 24 * 3600.0
MOST_CHARS = 1000

# Engine seeds may come from incarnations, so those of one life of the service are none of another's: replicas of a
# service that starts again on its store must not sample the same noise.
INCARNATIONS_PER_EPOCH = 10_000
# A replica that was heard within this many heartbeats lives.
LIVELY_BEATS = 2.0

ANSWERS = {
    wire.WEIGHTS_STATE_STAGED: WeightsAnswer.STAGED,
    wire.WEIGHTS_STATE_LOADED: WeightsAnswer.LOADED,
    wire.WEIGHTS_STATE_REFUSED: WeightsAnswer.REFUSED,
}


class ReplicaPlane(replica_pb2_grpc.ReplicaPlaneServicer):
    """Serves all replica sessions of one coordinator."""

    def __init__(self, coordinator: Coordinator, heartbeat_s: float, tokenizer: Tokenizer, chance: Random) -> None:
        """What is drawn first tells coordinators of one epoch apart, which there are when a store was emptied."""
        self._coordinator = coordinator
        self._life, self._chance = chance.getrandbits(63), chance
        self._heartbeat_s = heartbeat_s
        self._tokenizer = tokenizer
        self.sessions: dict[str, ReplicaSession] = {}
        self.models: dict[str, wire.Hello] = {}
        """Of each pool that has had a replica in this life, by its name: what the latest one said."""

    async def Session(
        self, request_iterator: AsyncIterator[wire.ReplicaMessage | None], context: Any
    ) -> AsyncIterator[wire.CoordinatorMessage]:
        """One call of one replica; a reconnect is another call on the same ReplicaSession. None: bytes that are no
        message."""
        try:
            async with asyncio.timeout(HELLO_S * self._chance.uniform(1.0, 2.0)):
                first = await anext(aiter(request_iterator), None)
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "no hello came, which is how a session begins")
            return
        if first is None or first.WhichOneof("body") != "hello":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message of a session must be hello")
            return
        try:
            check_may_be(first.hello.replica_id)
            reach("join.before")
            if not first.hello.incarnation:
                self._number(first.hello)
            session = await self._join(first.hello)
        except TreerollError as error:
            await context.abort(grpc.StatusCode[grpc_code(error)], str(error))
            return
        session.calls += 1
        call = session.calls
        session.wake.set()
        yield self._welcome(session)
        reader = asyncio.create_task(self._read(session, request_iterator))
        reader.add_done_callback(lambda _: session.wake.set())
        try:
            while True:
                await session.wake.wait()
                if session.lost:
                    # After ABORTED the same process comes back as the next incarnation.
                    name = f"replica {session.hello.replica_id} incarnation {session.hello.incarnation}"
                    code = grpc.StatusCode.FAILED_PRECONDITION if session.superseded else grpc.StatusCode.ABORTED
                    await context.abort(code, f"{name} lost its lease ({session.lost})")
                if reader.done() or session.calls != call:
                    return
                yield wire.CoordinatorMessage(commands=session.next_commands())
        finally:
            reader.cancel()
            [ended] = await asyncio.gather(reader, return_exceptions=True)
            if isinstance(ended, Exception) and not session.lost:  # or it was told so, and why
                log.warning("the session of replica %s broke: %s", session.hello.replica_id, ended)

    def end(self) -> None:
        """End all sessions: their replicas come again, to whoever answers then."""
        for session in self.sessions.values():
            session.calls += 1
            session.wake.set()

    async def _join(self, hello: wire.Hello) -> ReplicaSession:
        check_hello(hello, self._tokenizer, self._coordinator.builder.logprobs_mode)
        mark = self._coordinator.marks.get(hello.replica_id)
        if mark is not None and not mark.is_of(hello):
            mark = None
        # A store that has forgotten reports cannot tell where branches are that the replica has made more of.
        returns = mark is not None and hello.acked_seq <= mark.seq
        claims = await claims_of(self._coordinator, hello) if returns else ()
        known = self.sessions.get(hello.replica_id)
        same = known is not None and known.hello.incarnation == hello.incarnation
        if known is not None and same and known.hello.process != hello.process:
            raise Fenced(f"replica {hello.replica_id} incarnation {hello.incarnation} is fenced: another process is it")
        seq = mark.seq if mark is not None else 0
        session = known if known is not None and same else ReplicaSession(hello, seq, seq)
        session.restart()
        # Registered before the core may grant it work, so that no command is sent into nowhere.
        engine = hello.engine
        join = ReplicaJoined(
            hello.replica_id,
            hello.incarnation,
            engine.slots,
            engine.block_size,
            engine.max_model_len,
            frozenset(hello.live_grants),
            frozenset(hello.kept_trees),
            hello.pool,
            hello.weight_version,
            hello.weight_digest,
            returns,
            claims,
            drain_of(hello.draining) if hello.HasField("draining") else None,
            serves(hello),
        )
        key = hello.replica_id, hello.incarnation
        self._coordinator.sessions[key] = session
        try:
            await self._coordinator.call(join, mark=None if same else Mark.of(hello, seq))
        except TreerollError as error:
            if not same:
                if self._coordinator.sessions.get(key) is session:  # or a newer call of it waits to join, too
                    del self._coordinator.sessions[key]
            elif isinstance(error, StoreDown):  # it comes again, and its lease stands until it can
                self._coordinator.post_nowait(Item([ReplicaHeard(*key, session.heartbeat.kv_usage)]))
            raise
        self.sessions[hello.replica_id] = session
        self.models[hello.pool] = hello
        log.info(
            "replica %s incarnation %d joined with %d slots, on %s",
            hello.replica_id, hello.incarnation, engine.slots, node_of(hello),
        )  # fmt: skip
        if claims:
            self._tell_adopted(hello)
        return session

    def _number(self, hello: wire.Hello) -> None:
        """Give a process that nobody has numbered its incarnation: a new one, or what it got already if that answer
        was lost. Unavailable while another process lives under its name."""
        name = hello.replica_id
        known = self.sessions.get(name)
        if known is not None and not known.lost:
            if known.hello.process == hello.process:
                hello.incarnation = known.hello.incarnation
                return
            silent_s = clock.monotonic() - known.last_heard
            if silent_s < LIVELY_BEATS * self._heartbeat_s:
                raise Unavailable(
                    f"another process is replica {name} and was heard {silent_s:.1f} s ago: end it, or give this one "
                    "another name (--name)"
                )
        newest = self._coordinator.state.incarnations.get(name, 0)
        hello.incarnation = max(newest + 1, first_incarnation(self._coordinator.epoch))

    def _tell_adopted(self, hello: wire.Hello) -> None:
        """How much of what it has from an earlier coordinator goes on."""
        grants = self._coordinator.state.grants
        adopted = sum(branch.grant in grants for branch in hello.branches)
        self._coordinator.recovered.adopted += adopted
        log.info("replica %s goes on with %d of %d branches", hello.replica_id, adopted, len(hello.branches))

    def forget(self) -> None:
        """Tell no more of replicas that were lost long ago; how often they were stays counted."""
        oldest = clock.monotonic() - FORGOTTEN_S
        for name, session in list(self.sessions.items()):
            if session.lost and session.last_heard < oldest:
                del self.sessions[name]
                self._coordinator.figures.forget(name, session.hello.pool)

    def _welcome(self, session: ReplicaSession) -> wire.CoordinatorMessage:
        welcome = wire.Welcome(
            epoch=self._coordinator.epoch,
            acked_seq=session.acked_seq,
            heartbeat_s=self._heartbeat_s,
            run_ahead=self._coordinator.state.settings.run_ahead,
            incarnation=session.hello.incarnation,
            life=self._life,
        )
        return wire.CoordinatorMessage(welcome=welcome)

    async def _read(self, session: ReplicaSession, messages: AsyncIterator[wire.ReplicaMessage | None]) -> None:
        async for message in messages:
            session.heard()
            if session.faulted:
                continue
            if message is None:
                self._fault(session, f"replica {session.hello.replica_id} sent bytes that are no message", 0)
            elif message.HasField("report"):
                await self._take_report(session, message.report)
            elif message.HasField("heartbeat"):
                session.heartbeat = beat = message.heartbeat
                hello = session.hello
                heard = ReplicaHeard(hello.replica_id, hello.incarnation, _share(beat.kv_usage), beat.generated_tokens)
                await self._coordinator.post(Item([heard]))
            elif message.HasField("weights"):
                await self._coordinator.post(Item([_weights_answer(session.hello, message.weights)]))
            elif message.HasField("goodbye"):
                hello = session.hello
                left = ReplicaLost(hello.replica_id, hello.incarnation, "it said goodbye", LossKind.LEFT)
                await self._coordinator.post(Item([left]))

    async def _take_report(self, session: ReplicaSession, report: wire.Report) -> None:
        if report.seq <= session.seen_seq:
            return  # sent again after a reconnect
        replica = session.hello.replica_id, session.hello.incarnation
        try:
            events = segments_of(session.hello, report, self._tokenizer.vocab_size)
        except BadReport as error:
            self._fault(session, str(error), error.grant)
            return
        session.reported_tokens += sum(event.n_tokens + event.dropped_tokens for event in events)
        taken: list[Event] = [*events]
        if report.HasField("kv_usage"):
            taken.append(ReplicaHeard(*replica, _share(report.kv_usage)))

        def done(error: TreerollError | None) -> None:
            if error is None:
                session.acknowledge(report.seq)
                return
            self._fault(session, str(error), error.grant if isinstance(error, BrokenInvariant) else 0)

        await self._coordinator.post(Item(taken, done, mark=Mark.of(session.hello, report.seq)))
        session.seen_seq = report.seq

    def _fault(self, session: ReplicaSession, why: str, grant: int) -> None:
        """It reports nonsense: its session ends, and its branches go elsewhere."""
        if not session.faulted:
            session.faulted = True
            fault = ReplicaFaulted(session.hello.replica_id, session.hello.incarnation, why, grant)
            self._coordinator.post_nowait(Item([fault]))


def drain_of(said: wire.Draining) -> Drain:
    """What a replica, or its fleet, says of its end."""
    within_s = said.within_s if 0.0 <= said.within_s <= LONGEST_DRAIN_S else LONGEST_DRAIN_S
    return Drain(clock.monotonic() + within_s, said.cause[:MOST_CHARS], said.preempted)


def first_incarnation(epoch: int) -> int:
    """The lowest that replicas begin with in this life of the service."""
    return (epoch - 1) * INCARNATIONS_PER_EPOCH + 1


def _share(said: float) -> float:
    """What a replica says of its KV cache, from 0 to 1; nan is 0."""
    return min(1.0, max(0.0, said))


def _weights_answer(hello: wire.Hello, said: wire.WeightsReport) -> Event:
    """What a replica says of weights; an answer that is none is a refusal."""
    answer, error = ANSWERS.get(said.state, WeightsAnswer.REFUSED), said.error
    if answer is WeightsAnswer.REFUSED:
        error = error or "it does not say why"
    return WeightsReported(hello.replica_id, hello.incarnation, said.version, answer, said.digest, said.seconds, error)
