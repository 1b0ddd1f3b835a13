"""Run: one run, for synchronous code."""

import atexit
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

from treeroll.checks import check_several
from treeroll.client.async_run import AsyncRun
from treeroll.client.batch import Batch, meant
from treeroll.client.credit import NodeReward, RewardCounts
from treeroll.client.detached import DetachedBatch
from treeroll.client.loop import LoopThread
from treeroll.client.progress import State
from treeroll.client.publication import WeightsStatus
from treeroll.client.records import TreeRecord
from treeroll.client.status import RunStatus
from treeroll.client.stream import Ack, BatchOptions, Start, Stream
from treeroll.client.tokenizer import TokenizerFacts
from treeroll.client.wire import UnfitCounts, submit_requests
from treeroll.rows.values import Say
from treeroll.tasks import Fields, Task

log = logging.getLogger(__name__)

# Longest time that ending an iteration or a program waits for leases to be given back.
CLOSE_S = 3.0


class Run:
    """One run. Methods raise Unavailable when the service does not answer in time, UnknownRun if the run is gone."""

    def __init__(self, run: AsyncRun, loop: LoopThread) -> None:
        self._run = run
        self._loop = loop

    def __repr__(self) -> str:
        return repr(self._run).replace("AsyncRun", "Run", 1)

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self._run.run_id

    @property
    def tokenizer(self) -> TokenizerFacts:
        """The service's tokenizer: which ids end a text and pad, how long paths may be, and its hash."""
        return self._run.tokenizer

    def submit(
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
        # Read in this thread: the iterable is the caller's.
        for request in submit_requests(self.run_id, tasks, epoch, fields, say):
            reply = self._loop.run(self._run._submit(request))
            tree_ids += reply.tree_ids
            unfit.add(reply)
        unfit.tell(len(tree_ids), say)
        return tree_ids

    def close(self) -> RunStatus:
        """No more tasks: `batches()` ends when every task has ended."""
        return self._loop.run(self._run.close())

    def cancel(self) -> RunStatus:
        """Stop growing. Trees with complete leaves end as partial, the others as failed."""
        return self._loop.run(self._run.cancel())

    def status(self) -> RunStatus:
        """State and figures."""
        return self._loop.run(self._run.status())

    def collect(self, tree_ids: Sequence[str], timeout_s: float | None = None) -> Batch:
        """The trees with these ids, in this order, once all have ended; tasks without a sample are in `failures`.

        For trainers that ask for the completions of their own prompts, as TRL's rollout functions and verl's agent
        loops do. They grow before tasks that nobody asked for, and hold no place of `ahead`. Beside all groups: nothing
        is leased, so `ack` and `release` have no effect, the same trees can be collected again while they are kept, and
        groups of the run receive them as ever.

        Raises Stalled when none of those missing came for `timeout_s` seconds, or when none can come any more;
        UnknownTree for an id that is none of the run's, or has expired; InvalidInput for one that is given twice;
        Drained.
        """
        return Batch(self._loop.run(self._run._collect(tree_ids, timeout_s)), self._loop)

    def generate(
        self,
        tasks: Iterable[Task | Mapping[str, Any]],
        timeout_s: float | None = None,
        epoch: int = 0,
        *,
        prompt_field: str | None = None,
        answer_field: str | None = None,
        id_field: str | None = None,
        on_note: Say | None = None,
    ) -> Batch:
        """The trees of these tasks, in their order: `submit` and `collect`, which have the parameters and errors.

        A task is the same tree each time it is submitted in an epoch: for new samples of the same prompts give another
        `epoch` (such as the training step), or other ids. So a trainer that is restarted gets what has grown already.
        """
        names = {"prompt_field": prompt_field, "answer_field": answer_field, "id_field": id_field}
        tree_ids = self.submit(tasks, epoch, **names, on_note=on_note)
        return self.collect(tree_ids, timeout_s)

    def ack(self, batch: DetachedBatch) -> None:
        """Acknowledge a batch that was detached in another process, or in this one; errors as for `Batch.ack`."""
        self._loop.run(self._run.ack(batch))

    def get_tree(self, tree_id: str) -> TreeRecord:
        """One tree as it is now. Raises UnknownTree."""
        return self._loop.run(self._run.get_tree(tree_id))

    def report_rewards(self, rewards: Iterable[NodeReward], scorer: str = "client", version: int = 1) -> RewardCounts:
        """Write rewards of nodes, as (tree id, path or node id, value), late and again. All or none are applied.

        Any node but the prompt, of trees that have ended. A path is sibling indices from the root down, e.g. "0.1.0",
        as in `Node.path`; node ids are `Sample.sample_id` (of its leaf), `Sample.path_node_ids` and `Node.node_id`. In
        force for credit is the newest version of the run's own scorer, or of "client" if the run has none. Batches that
        are there already take the new credit in by `Batch.refresh`; `Batch.report_rewards` does both.

        Raises InvalidInput naming the node of a value that is not finite, RewardConflict if the node has another value
        of this scorer and version, UnknownTree, UnknownNode.
        """
        check_several("rewards", rewards, "rewards")
        return self._loop.run(self._run.report_rewards(list(rewards), scorer, version))

    def publish_weights(
        self,
        path: str | Path,
        version: int,
        *,
        pool: str | None = None,
        digest: str | None = None,
        wait: bool = True,
        timeout_s: float = 600.0,
    ) -> WeightsStatus:
        """Give the run's model new weights, which all runs of its pool then have; see `Client.publish_weights`.

        `pool` is needed for a run with a route, which has several models: InvalidInput without it.
        """
        return self._loop.run(
            self._run.publish_weights(path, version, pool=pool, digest=digest, wait=wait, timeout_s=timeout_s)
        )

    def weights(self) -> WeightsStatus:
        """The ledger of the weights of the run's model; see `Client.weights`, which is for a run with a route."""
        return self._loop.run(self._run.weights())

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
    ) -> "Batches":
        """Finished trees in batches of `trees`, leased to this consumer of `group` and renewed in the background.

        Asking for the next batch acknowledges the one before (a lease that moved on is logged then; `batch.ack()`
        raises LeaseLost). Leaving the loop by break, return or an exception gives back what is not acknowledged. Ends
        when the run is closed and this group has everything; the last batch may be short. While the run is open a batch
        waits until it is full, or for max_wait_s. Failed tasks ride along as `batch.failures` and do not count as
        trees; a batch of nothing but failures is logged and acknowledged, unless allow_empty.

        With `ack="manual"` only `batch.ack()` and `Batches.ack_through` acknowledge, and any number of batches may be
        out: their leases are renewed until then, also after the last batch has come.

        Consumers of one group are independent of each other: each takes what has ended when it asks, so they get
        different numbers of batches. Ranks that train one model together give `rank` and `world`: all of them get
        equally many batches, each a share of one global batch of `trees` trees. Whole trees, every one in one share,
        divided so that ranks have about equally many tokens; a share may be empty (`len(batch) == 0`).
        `batch.global_samples` and its like are the denominators of a loss over all ranks. The trees of a step are
        acknowledged when all ranks have acknowledged their shares; until then the step is the same whenever a rank asks
        for it, also after a restart. `world` may change from step to step, if nobody has acknowledged the next one.

        `state`, of `Batches.state_dict()`, begins where a checkpoint was: what it does not name comes again, also if it
        was acknowledged since, and whoever consumes for the group elsewhere gets GroupMoved. Else the group goes on
        where it is; a new one begins before the run's first tree, or with `start="latest"` after its latest.

        With `prefetch`, trees for the next batch that have ended already are leased while this one comes or is worked
        on: faster, but other consumers of the group do not get them meanwhile.

        lease_s: how long a tree stays ours after this process dies, 1..3600. Raises InvalidInput for values out of
        range. The iterator raises Drained when the service drains, and this group has everything that still ended.
        It raises Stalled when no tree came for `timeout_s` seconds, and at once when none can come any more (the budget
        of an open run is spent, all of its tasks fail, no replica is left): the message says how the run stands. While
        it waits, the same is logged every 30 s.
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
        return Batches(self._run._stream(options), self._loop)


class Batches:
    """Iterator over batches; gives back what is not acknowledged when closed, failed, interrupted or garbage.

    `with run.batches() as batches` gives back the moment the block is left, whoever else still refers to the iterator.
    """

    def __init__(self, stream: Stream, loop: LoopThread) -> None:
        self._stream = stream
        self._loop = loop
        _open.add(self)

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Batch:
        try:
            leased = self._loop.run(self._stream.next())
        except BaseException:
            self._end()
            raise
        if leased is None:
            self._end()
            raise StopIteration
        return Batch(leased, self._loop)

    def ack_through(self, last: "Batch | int") -> None:
        """Acknowledge a batch, or the one with the tree of a delivery_seq, and all that came before it.

        Raises LeaseLost naming the trees whose lease moved on; all others are acknowledged. GroupMoved if the group was
        moved to a state elsewhere, InvalidInput for a batch of another iterator.
        """
        self._loop.run(self._stream.ack_through(meant(last)))

    def state_dict(self, through: "Batch | int | None" = None) -> State:
        """What a checkpoint keeps: the trees that the group has acknowledged; what is not named comes again.

        Named are the trees that the group had acknowledged when this iterator began, and those that were acknowledged
        through it. `through` adds the batches that `ack_through` would acknowledge, for a checkpoint that is saved
        before. The state is plain: it goes into JSON as well as into torch.save.
        """
        return self._loop.run(self._stream.state(None if through is None else meant(through)))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Move the group to a saved state, as `Run.batches` does with `state`; batches that are out are over.

        Raises InvalidInput for a state of another run or group, and for one after which trees would come again that
        have expired.
        """
        self._loop.run(self._stream.load(state))

    def leave(self, lease_s: float) -> None:
        """End, and give nothing back: others acknowledge the batches that were detached, within so many seconds."""
        self._loop.run(self._stream.leave(lease_s))

    def _end(self) -> None:
        """The loop is over; who acknowledges at times of its own may do so still."""
        if not self._stream.holds:
            self.close()

    def close(self) -> None:
        """Give back what is not acknowledged, at once."""
        if self._stream.closed or not self._loop.usable:
            return
        try:
            self._loop.run(self._stream.close(), CLOSE_S)
        except TimeoutError:
            log.warning("leases were not given back in time; their trees come again when the leases end")

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._stream.closed:  # a finaliser must not wait: it may run in the loop's own thread
            self._loop.start(self._stream.close())


_open: "WeakSet[Batches]" = WeakSet()


@atexit.register
def _close_all() -> None:
    """A process that ends gives back its leases; the daemon thread would not live to do it."""
    for batches in list(_open):
        batches.close()
