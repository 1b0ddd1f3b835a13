"""A generator replica without Ray: an engine, the branches it decodes, and a session with the coordinator."""

import asyncio
import logging
import secrets
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from treeroll import __version__, clock
from treeroll.channels import Pass
from treeroll.errors import EngineError, TreerollError
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Engine
from treeroll.generator.origin import origin_of
from treeroll.generator.outbox import Outbox
from treeroll.generator.request import BranchRequest, Tally, failed, why_failed
from treeroll.generator.sequence import Sequences
from treeroll.generator.session import Session
from treeroll.generator.stalls import STALLED_S, Stalls
from treeroll.generator.weight_orders import WeightOrders
from treeroll.metrics.replica import ReplicaSeen, State
from treeroll.pb.v1 import common_pb2
from treeroll.pb.v1 import replica_pb2 as wire

log = logging.getLogger(__name__)

HEALTH_INTERVAL_S = 0.5


class Replica:
    """Applies the coordinator's commands and reports segments. It makes no tree decisions.

    `run()` owns everything: the engine from start to shutdown, the session, and one task per branch.
    """

    def __init__(
        self,
        engine: Engine,
        detokenizer: Detokenizer,
        replica_id: str,
        incarnation: int,
        coordinator_address: str,
        pool: str = "",
        shown: Pass | None = None,
        process: int | None = None,
    ) -> None:
        """`incarnation` 0: the coordinator numbers it. `coordinator_address`: one, or several joined by commas.
        `process`: what the coordinator knows this process by; None: a number by chance.

        InvalidInput for an address that is none.
        """
        self.replica_id = replica_id
        self.pool = pool
        self.incarnation = incarnation
        self.metrics_url = ""
        """Where it answers Prometheus; set before run()."""
        self.tally = Tally()
        self.session = Session(coordinator_address, self, shown or Pass())
        self._engine = engine
        self._detokenizer = detokenizer
        self._outbox = Outbox()
        self._weights = WeightOrders(engine, self._spawn, self._outbox.wake)
        self._branches: dict[int, BranchRequest] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}  # of these
        self._origin = common_pb2.Origin()
        self._process = secrets.randbits(63) if process is None else process
        self._sequences = Sequences(detokenizer)
        self._group: asyncio.TaskGroup | None = None
        self._epoch = self._life = 0  # of the coordinator that gave what is here
        self._run_ahead = 1
        self._seen = ReplicaSeen(replica_id, pool, __version__)
        self._drain: tuple[float, str, bool] | None = None  # until when, on the clock, why, and whether its node goes
        self._leaving = False

    async def run(self) -> None:
        """Serve until drained. Raises EngineError (the process should go) or SessionRefused."""
        try:
            await self._engine.start()
            self._origin = await asyncio.to_thread(origin_of, self._engine.info, self.metrics_url)
            async with asyncio.TaskGroup() as group:
                self._group = group
                watch = group.create_task(self._watch_engine(), name="engine-watch")
                await self.session.run()
                watch.cancel()
        except* TreerollError as failures:
            raise _first_cause(failures) from failures
        finally:
            await self._engine.shutdown()

    def drain(self, within_s: float, cause: str, preempted: bool = False) -> None:
        """Finish what runs, then let run() return. Whoever gives work knows of it, and for how long that may take."""
        self._drain = clock.monotonic() + within_s, cause, preempted
        self._outbox.wake.set()

    def leave(self) -> None:
        """Say goodbye and let run() return; what runs here is then decoded elsewhere."""
        self._leaving = True
        self._outbox.wake.set()

    async def pause(self) -> None:
        """Stop decoding until resume()."""
        await self._engine.pause()

    async def resume(self) -> None:
        """Go on decoding."""
        await self._engine.resume()

    @property
    def live_branches(self) -> int:
        """Branches that have not ended."""
        return len(self._branches)

    def seen(self) -> ReplicaSeen:
        """Its metrics. Any thread may ask: figures that only the loop can read are of its last look at the engine."""
        again = max(0, self.session.welcomes - 1)
        return replace(self._seen, state=self._state(), reconnects=again, tokens=self.tally.generated)

    def _state(self) -> State:
        if not self.session.begun:
            return "starting"
        if not self.session.connected.is_set():
            return "connecting"
        return "ready" if self._drain is None else "draining"

    # What the session asks of its peer:

    @property
    def wake(self) -> asyncio.Event:
        """Set when there may be something to send."""
        return self._outbox.wake

    def is_done(self) -> bool:
        """It leaves; or nothing runs, everything reported is durable, and no work will come."""
        return self._leaving or (self._drain is not None and not self._branches and not len(self._outbox))

    def hello(self) -> wire.Hello:
        """Introduces this incarnation with everything it still has."""
        info = self._engine.info
        live = self._branches.keys() | self._outbox.grants
        return wire.Hello(
            replica_id=self.replica_id,
            incarnation=self.incarnation,
            engine=common_pb2.EngineInfo(
                engine=info.engine,
                engine_version=info.engine_version,
                model=info.model,
                block_size=info.block_size,
                max_model_len=info.max_model_len,
                slots=info.slots,
                kv_tokens=info.kv_tokens,
                logprobs_mode=info.logprobs_mode,
            ),
            weight_version=self._engine.weight_version,
            weight_digest=self._engine.weight_digest,
            last_seq=self._outbox.last_seq,
            acked_seq=self._outbox.acked_seq,
            live_grants=sorted(live),
            branches=self._sequences.branches(live),
            kept_trees=sorted(self._sequences.trees),
            pool=self.pool,
            tokenizer_hash=self._detokenizer.hash,
            process=self._process,
            origin=self._origin,
            draining=self._draining(),
        )

    async def welcome(self, welcome: wire.Welcome) -> bool:
        """Take what the coordinator has; False for one whose store has forgotten the one that we served."""
        if welcome.life != self._life and welcome.epoch <= self._epoch:
            return False
        self._epoch, self._life = welcome.epoch, welcome.life
        self.incarnation = self.incarnation or welcome.incarnation
        self._run_ahead = max(1, welcome.run_ahead)
        self._acknowledge(welcome.acked_seq)
        self._outbox.rewind()
        return True

    async def apply(self, commands: wire.Commands) -> None:
        """Acknowledgement, stops, starts, forgets, weights, then flags."""
        self._acknowledge(commands.acked_seq)
        await self._stop([stop.grant for stop in commands.stops])
        for start in commands.starts:
            self._start(start)
        self._sequences.forget(commands.forget_trees)
        if commands.HasField("stage_weights"):
            self._weights.stage(commands.stage_weights)
        if commands.HasField("flip_weights"):
            self._weights.flip(commands.flip_weights)
        if commands.HasField("paused"):
            await (self.pause() if commands.paused else self.resume())
        if commands.HasField("draining"):
            told = commands.draining
            self.drain(told.within_s, told.cause, told.preempted)

    async def begin_anew(self) -> None:
        """Drop every branch and sequence; the engine, with its weights and its KV cache, goes on."""
        branches, tasks = list(self._branches.values()), list(self._tasks.values())
        for task in tasks:
            task.cancel()  # which aborts its request
        await asyncio.gather(*tasks, return_exceptions=True)
        for branch in branches:
            branch.abandon()
        self._branches.clear()  # a task that never ran did not take its own out
        self._tasks.clear()
        self._outbox.clear()
        self._sequences = Sequences(self._detokenizer)
        self._epoch = 0
        if self.incarnation:  # or it has not been numbered yet
            self.incarnation += 1

    def next_weights_report(self) -> wire.WeightsReport | None:
        """An answer to an order about weights, if there is one to send."""
        return self._weights.next_answer()

    def next_report(self) -> wire.Report | None:
        """The next report to send on the present call."""
        report = self._outbox.next_report()
        if report is not None and not report.HasField("kv_usage"):  # sent again it stays as it was
            report.kv_usage = self._engine.stats().kv_usage
        return report

    def heartbeat(self) -> wire.Heartbeat:
        """Load of the engine."""
        stats = self._engine.stats()
        return wire.Heartbeat(
            running=stats.running,
            waiting=stats.waiting,
            kv_usage=stats.kv_usage,
            preempted=stats.preempted,
            generated_tokens=self.tally.generated,
        )

    # Branches:

    def _acknowledge(self, seq: int) -> None:
        for grant, segments in self._outbox.acknowledge(seq).items():
            if (branch := self._branches.get(grant)) is not None:
                branch.acknowledge(segments, self._run_ahead)
        if self._drain is not None:
            self._outbox.wake.set()

    def _draining(self) -> wire.Draining | None:
        if self._drain is None:
            return None
        until, cause, preempted = self._drain
        return wire.Draining(within_s=max(0.0, until - clock.monotonic()), cause=cause, preempted=preempted)

    async def _stop(self, grants: list[int]) -> None:
        """Unknown grants have ended by themselves: their end is on its way."""
        branches = [self._branches[grant] for grant in grants if grant in self._branches]
        for branch in branches:
            branch.stop()
        if branches:
            await self._engine.abort([branch.request_id for branch in branches])

    def _start(self, start: wire.StartBranch) -> None:
        if start.grant in self._branches:
            return  # told twice
        try:
            sequence = self._sequences.open(start)
            branch = BranchRequest(
                start, sequence, self._engine, self._detokenizer, self._outbox, self.tally, self._run_ahead
            )
        except Exception as error:  # of this order alone: the others must start
            self._outbox.put(failed(start.grant, why_failed(error, f"g{start.grant}")))
            return
        self._branches[start.grant] = branch
        self._tasks[start.grant] = self._spawn(self._run_branch(branch), branch.request_id)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """A task that ends with the replica, and whose failure ends the replica."""
        if self._group is None:
            work.close()
            raise EngineError(f"replica {self.replica_id} does not run")
        return self._group.create_task(work, name=name)

    async def _give_up(self, grant: int) -> None:
        """Report that the engine has forgotten a branch: it is granted elsewhere."""
        branch, task = self._branches[grant], self._tasks[grant]
        task.cancel()  # which aborts its request
        await asyncio.gather(task, return_exceptions=True)
        branch.fail(
            f"the engine made no token for {branch.request_id} in {STALLED_S:g} s, while it decoded others and none "
            "waited"
        )

    async def _run_branch(self, branch: BranchRequest) -> None:
        try:
            await branch.run()
        finally:
            del self._branches[branch.grant], self._tasks[branch.grant]
            self._outbox.wake.set()

    async def _watch_engine(self) -> None:
        """An engine may die while no request waits for it, or forget one while others go on."""
        stalls = Stalls()
        while not self._engine.errored:
            tokens = {grant: branch.generated_tokens for grant, branch in self._branches.items()}
            stats = self._engine.stats()
            self._seen = replace(
                self._seen, unacked_segments=len(self._outbox), kv_usage=stats.kv_usage, preempted=stats.preempted
            )
            for grant in stalls.look(clock.monotonic(), stats, tokens):
                await self._give_up(grant)
            await asyncio.sleep(HEALTH_INTERVAL_S)
        raise EngineError(f"the engine of replica {self.replica_id} died")


def _first_cause(failures: BaseExceptionGroup[TreerollError]) -> TreerollError:
    """One error of a group; an engine's death before its consequences."""
    flat: list[TreerollError] = []
    stack: list[BaseException] = list(failures.exceptions)
    while stack:
        error = stack.pop(0)
        if isinstance(error, BaseExceptionGroup):
            stack.extend(error.exceptions)
        elif isinstance(error, TreerollError):
            flat.append(error)
    return next((error for error in flat if isinstance(error, EngineError)), flat[0])
