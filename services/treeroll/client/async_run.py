"""AsyncRun: one run, for asynchronous code."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

from treeroll.checks import check_text, kind
from treeroll.client.batch import AsyncBatch, BatchData, meant
from treeroll.client.channel import Channel
from treeroll.client.collect import CollectedTrees, collect
from treeroll.client.credit import NodeReward, RewardCounts, RewardReports
from treeroll.client.detached import DetachedBatch, acknowledge
from treeroll.client.fetch_tree import fetch_tree
from treeroll.client.progress import State
from treeroll.client.publication import WeightsStatus, publish_weights, weights
from treeroll.client.records import TreeRecord
from treeroll.client.status import RunStatus
from treeroll.client.stream import Ack, BatchOptions, Start, Stream
from treeroll.client.tokenizer import TokenizerFacts
from treeroll.client.wire import UnfitCounts, submit_requests
from treeroll.errors import InvalidInput, LeaseLost
from treeroll.forks import generation
from treeroll.pb.v1 import rollout_pb2
from treeroll.rows.values import Say
from treeroll.tasks import Fields, Task

log = logging.getLogger(__name__)


class AsyncRun:
    """One run. Methods raise Unavailable when the service does not answer in time, UnknownRun if the run is gone."""

    def __init__(self, channel: Channel, run: rollout_pb2.Run, streams: "WeakSet[Stream]") -> None:
        """`run`: as the service has just answered."""
        self._channel = channel
        self._streams = streams
        self.run_id = run.run_id
        self.tokenizer = TokenizerFacts.from_proto(run.tokenizer)
        """Of the service."""

    def __repr__(self) -> str:
        return f"<AsyncRun {self.run_id} at {self._channel.address}>"

    async def submit(
        self,
        tasks: Iterable[Task | Mapping[str, Any]],
        epoch: int = 0,
        *,
        prompt_field: str | None = None,
        answer_field: str | None = None,
        id_field: str | None = None,
        on_note: Say | None = None,
    ) -> list[str]:
        """Add tasks; returns the tree ids they will become, in order. They are durable when this returns.

        Tasks travel in chunks of at most 256, each accepted whole or not at all. Repeating a submission has no effect.
        A mapping without `id` is called "task-<position>"; `prompt_field`, `answer_field` and `id_field` say where
        mappings have their prompt, answer and id, as in `treeroll.tasks.Fields`. What they hold that JSON cannot is
        taken as `treeroll.rows.values` says. `on_note` hears of that, once per column, and of tasks that the run's
        scorer can make nothing of; None: logged as warnings. Raises InvalidInput naming the task, or if the scorer can
        make nothing of all tasks of a run's first chunk, TaskConflict if the id exists in this epoch with other
        content, RunClosed, Drained.
        """
        tree_ids: list[str] = []
        fields, say, unfit = Fields(prompt_field, answer_field, id_field), on_note or log.warning, UnfitCounts()
        for request in submit_requests(self.run_id, tasks, epoch, fields, say):
            reply = await self._submit(request)
            tree_ids += reply.tree_ids
            unfit.add(reply)
        unfit.tell(len(tree_ids), say)
        return tree_ids

    async def _submit(self, request: rollout_pb2.SubmitTasksRequest) -> rollout_pb2.SubmitTasksReply:
        return await self._channel.call("SubmitTasks", request, rollout_pb2.SubmitTasksReply)

    async def close(self) -> RunStatus:
        """No more tasks: `batches()` ends when every task has ended."""
        request = rollout_pb2.CloseRunRequest(run_id=self.run_id)
        return RunStatus.from_proto(await self._channel.call("CloseRun", request, rollout_pb2.Run))

    async def cancel(self) -> RunStatus:
        """Stop growing. Trees with complete leaves end as partial, the others as failed."""
        request = rollout_pb2.CancelRunRequest(run_id=self.run_id)
        return RunStatus.from_proto(await self._channel.call("CancelRun", request, rollout_pb2.Run))

    async def status(self) -> RunStatus:
        """State and figures."""
        request = rollout_pb2.GetRunRequest(run_id=self.run_id)
        return RunStatus.from_proto(await self._channel.call("GetRun", request, rollout_pb2.Run))

    async def collect(self, tree_ids: Sequence[str], timeout_s: float | None = None) -> AsyncBatch:
        """The trees with these ids, once all have ended; see `Run.collect`."""
        return AsyncBatch(await self._collect(tree_ids, timeout_s))

    async def _collect(self, tree_ids: Sequence[str], timeout_s: float | None) -> CollectedTrees:
        return await collect(self._channel, self.run_id, tree_ids, timeout_s, self.status)

    async def generate(
        self,
        tasks: Iterable[Task | Mapping[str, Any]],
        timeout_s: float | None = None,
        epoch: int = 0,
        *,
        prompt_field: str | None = None,
        answer_field: str | None = None,
        id_field: str | None = None,
        on_note: Say | None = None,
    ) -> AsyncBatch:
        """The trees of these tasks, in their order; see `Run.generate`."""
        names = {"prompt_field": prompt_field, "answer_field": answer_field, "id_field": id_field}
        tree_ids = await self.submit(tasks, epoch, **names, on_note=on_note)
        return await self.collect(tree_ids, timeout_s)

    async def ack(self, batch: DetachedBatch) -> None:
        """Acknowledge a detached batch; see `Run.ack`."""
        if not isinstance(batch, BatchData):
            raise InvalidInput(f"batch must be a batch, got {kind(batch)}")
        done = await acknowledge(self._channel, batch)
        if done.lost:
            raise LeaseLost(done.lost)

    async def get_tree(self, tree_id: str) -> TreeRecord:
        """One tree as it is now. Raises UnknownTree."""
        check_text("tree_id", tree_id)
        return TreeRecord.from_proto(await fetch_tree(self._channel, tree_id))

    async def report_rewards(
        self, rewards: Iterable[NodeReward], scorer: str = "client", version: int = 1
    ) -> RewardCounts:
        """Write rewards of nodes; see `Run.report_rewards`."""
        return await RewardReports(self._channel, self.run_id).report(rewards, scorer, version)

    async def publish_weights(
        self,
        path: str | Path,
        version: int,
        *,
        pool: str | None = None,
        digest: str | None = None,
        wait: bool = True,
        timeout_s: float = 600.0,
    ) -> WeightsStatus:
        """Give the run's model new weights; see `Run.publish_weights`."""
        if pool is None:
            pool = await self._pool()
        return await publish_weights(self._channel, pool, path, version, digest, wait, timeout_s)

    async def weights(self) -> WeightsStatus:
        """The ledger of the weights of the run's model; see `Run.weights`."""
        return await weights(self._channel, await self._pool())

    async def _pool(self) -> str:
        """The only pool that the run's trees grow in."""
        config = (await self.status()).config
        if config.get("route"):
            raise InvalidInput(
                f"run '{self.run_id}' grows trees with several models: say with pool= whose weights are meant"
            )
        return config.get("model") or ""

    def batches(  # noqa: PLR0913  # settings, by keyword
        self,
        trees: int = 32,
        group: str = "default",
        consumer: str | None = None,
        lease_s: float = 60.0,
        *,
        max_wait_s: float | None = None,
        allow_empty: bool = False,
        prefetch: bool = False,
        timeout_s: float | None = None,
        ack: Ack = "on_next",
        start: Start = "first",
        state: Mapping[str, Any] | None = None,
        rank: int | None = None,
        world: int | None = None,
    ) -> "AsyncBatches":
        """Finished trees in batches; see `Run.batches`.

        `async with run.batches() as batches` gives back leases the moment the block is left; else they are given back
        when the iterator is garbage.
        """
        options = BatchOptions(
            trees,
            group,
            consumer,
            lease_s,
            max_wait_s,
            allow_empty,
            prefetch,
            timeout_s,
            ack=ack,
            start=start,
            state=state,
            rank=rank,
            world=world,
        )
        return AsyncBatches(self._stream(options))

    def _stream(self, options: BatchOptions) -> Stream:
        stream = Stream(self._channel, self.run_id, options)
        self._streams.add(stream)
        return stream


class AsyncBatches:
    """Iterator over batches; gives back what is not acknowledged when closed, failed, cancelled or garbage."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._made_in = generation()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __aiter__(self) -> "AsyncBatches":
        return self

    async def __anext__(self) -> AsyncBatch:
        self._loop = asyncio.get_running_loop()
        try:
            leased = await self._stream.next()
        except BaseException:
            await self._end()
            raise
        if leased is None:
            await self._end()
            raise StopAsyncIteration
        return AsyncBatch(leased)

    async def ack_through(self, last: "AsyncBatch | int") -> None:
        """Acknowledge as `Batches.ack_through` does."""
        await self._stream.ack_through(meant(last))

    async def state_dict(self, through: "AsyncBatch | int | None" = None) -> State:
        """What a checkpoint keeps, as `Batches.state_dict` says."""
        return await self._stream.state(None if through is None else meant(through))

    async def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Move the group to a saved state, as `Batches.load_state_dict` does."""
        await self._stream.load(state)

    async def _end(self) -> None:
        if not self._stream.holds:
            await self.aclose()

    async def aclose(self) -> None:
        """Give back what is not acknowledged, at once."""
        await self._stream.close()

    async def __aenter__(self) -> "AsyncBatches":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # A finaliser cannot wait, and may run in any thread.
        loop = self._loop
        if self._made_in == generation() and loop is not None and not self._stream.closed and not loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._stream.close(), loop)
