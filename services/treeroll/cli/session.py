"""RolloutSession: one run at one service: submit, take trees as they finish, write them, acknowledge."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import pyarrow as pa

from treeroll.cli.decisions import DecisionReader
from treeroll.cli.interrupts import Interrupts
from treeroll.cli.progress import Display, Snapshot
from treeroll.client.records import TreeRecord
from treeroll.errors import LeaseLost, RunClosed, TreerollError, Unavailable
from treeroll.results.earlier import Written
from treeroll.results.session import Session
from treeroll.results.summary import Tally, TreeFigures
from treeroll.tasks import Task

log = logging.getLogger(__name__)

GROUP = "cli"
# A part has at most this many trees, and its oldest tree waited at most this long.
PART_TREES = 32
PART_WAIT_S = 3.0
# Short, so that a rollout resumed after kill -9 soon gets what the dead one had leased.
LEASE_S = 20.0
POLL_S = 1.0
# Failed tasks that are told one by one: when a budget is used up, thousands may follow.
TOLD_FAILURES = 5
# How long a service may take to cancel a run before we give up on it.
CANCEL_S = 30.0


class Writer(Protocol):
    """Where trees are written."""

    def write(self, trees: Sequence[TreeRecord], session: Session, events: pa.Table | None = None) -> None:
        """When this returns the trees are on the disk, and decisions with them."""


class RolloutSession:
    """Brings the trees of one run from a service to a writer."""

    def __init__(
        self,
        client: Any,
        run: Any,
        session: Session,
        writer: Writer,
        display: Display,
        interrupts: Interrupts,
        decisions: DecisionReader | None = None,
    ) -> None:
        """`client` and `run` are an AsyncClient and an AsyncRun; without `decisions` none are written."""
        self.session = session
        self.failures: dict[str, str] = {}
        """Task id to error, of tasks that ended without a sample by themselves."""
        self._client = client
        self._run = run
        self._writer = writer
        self._display = display
        self._interrupts = interrupts
        self._decisions = decisions
        self._tally = Tally()
        self._spent = 0
        self._total = 0
        self._started = time.monotonic()
        self._earlier_s = session.wall_s

    @property
    def interrupted(self) -> bool:
        """Whether a signal asked for the end."""
        return self._interrupts.asked.is_set()

    async def submit(self, tasks: Iterable[Task]) -> None:
        """Submit all tasks and close the run; a run that is closed has them all. A signal cancels instead."""
        status = await self._run.status()
        self._total = status.submitted
        if status.state != "open":
            return
        try:
            self._total = len(await self._run.submit(tasks, on_note=self._note))
            await self._run.close()
        except RunClosed:  # stopped meanwhile, by a signal or at its deadline
            status = await self._run.status()
            if not self.interrupted and not status.stop_reason:
                raise
            self._total = status.submitted

    def _note(self, sentence: str) -> None:
        self._display.say(f"note: {sentence}")

    async def stream(self, written: Written) -> None:
        """Write trees as they finish until all have ended. Trees in `written` that come again are only acknowledged."""
        beside = [asyncio.create_task(self._watch()), asyncio.create_task(self._follow_decisions())]
        try:
            options = {"trees": PART_TREES, "group": GROUP, "lease_s": LEASE_S, "max_wait_s": PART_WAIT_S}
            async with self._run.batches(**options, allow_empty=True) as batches:
                async for batch in batches:
                    await self._take(batch, written)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        await self._read_figures()
        if self._decisions is not None and (rest := await self._decisions.finish()) is not None:
            await asyncio.to_thread(self._writer.write, [], self.session, rest)

    async def cancel_when_asked(self) -> None:
        """Cancel the run at a signal; its complete trees and leaves then come as usual."""
        await self._interrupts.asked.wait()
        self._display.say("stopping: keeping what is complete (Ctrl-C again stops at once)")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_S):
                await self._run.cancel()

    async def _take(self, batch: Any, written: Written) -> None:
        """Write a batch, then acknowledge it: what is acknowledged is on the disk."""
        ended = await asyncio.to_thread(lambda: [*batch.trees, *batch.failed_trees])
        trees = [tree for tree in ended if tree.tree_id not in written.trees]
        await self._read_figures()
        if trees:
            await asyncio.to_thread(self._writer.write, trees, self.session, await self._decided())
        for tree in trees:
            written.add(tree.task_id, tree.tree_id, tree.status)
            if not tree.samples:
                continue
            self._tally.add_tree(figures_of(tree))
            self._spent += tree.ledger.spent
        for failure in batch.failures:
            if not self.interrupted:
                self._note_failure(failure.task_id, failure.error)
        try:
            await batch.ack()
        except LeaseLost as error:  # they come again, and are known then
            log.info("%s", error)

    def _note_failure(self, task_id: str, error: str) -> None:
        self.failures[task_id] = error
        if len(self.failures) <= TOLD_FAILURES:
            self._display.say(f"task {task_id} ended without a sample: {error}")
        elif len(self.failures) == TOLD_FAILURES + 1:
            self._display.say("more tasks ended without a sample; the summary will count them")

    async def _read_figures(self) -> Any:
        status = await self._run.status()
        self.session.read(status)
        self.session.wall_s = self._earlier_s + time.monotonic() - self._started
        return status

    async def _decided(self) -> pa.Table | None:
        """Decisions that no file has yet: of a tree that has come all are in the log."""
        if self._decisions is None:
            return None
        await self._decisions.read()
        return self._decisions.take()

    async def _follow_decisions(self) -> None:
        """Read them while no tree comes: the log is bounded."""
        while self._decisions is not None:
            await self._decisions.read()
            await asyncio.sleep(POLL_S)

    async def _watch(self) -> None:
        """Show progress. A service that does not answer is the stream's trouble, not ours."""
        while True:
            with contextlib.suppress(Unavailable):
                run, service = await self._run.status(), await self._client.status()
                self._display.update(self._snapshot(run, service))
            await asyncio.sleep(POLL_S)

    def _snapshot(self, run: Any, service: Any) -> Snapshot:
        return Snapshot(
            total=max(self._total, run.submitted),
            trees=run.finished,
            failed=run.failed,
            dropped=sum(run.filtered.values()),
            growing=run.growing,
            leaves=run.leaves,
            generated_tokens=run.ledger.spent,
            sharing=self._tally.delivered_tokens / self._spent if self._spent else None,
            caps=[(cap.resource, cap.spent, cap.limit) for cap in run.caps],
            deadline=run.deadline,
            mean_reward=self._tally.reward.mean,
            reward_errors=run.reward_errors,
            replicas=[(r.replica_id, r.state, r.branches, r.slots) for r in service.replicas],
        )


def figures_of(tree: TreeRecord) -> TreeFigures:
    """A tree for the tally."""
    return TreeFigures(
        prompt_tokens=len(tree.samples[0].prompt_ids) if tree.samples else 0,
        completion_tokens=[len(sample.completion_ids) for sample in tree.samples],
        rewards=[sample.reward for sample in tree.samples],
        path_weights=[sample.path_weight for sample in tree.samples],
        reward_errors=sum(sample.reward_status == "error" for sample in tree.samples),
        partial=tree.status == "partial",
    )


async def cancel_quietly(run: Any) -> None:
    """Cancel a run that nobody will read; the service may be gone already."""
    with contextlib.suppress(TreerollError, TimeoutError):
        async with asyncio.timeout(CANCEL_S):
            await run.cancel()
