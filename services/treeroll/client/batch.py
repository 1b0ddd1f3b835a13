"""Batch: some finished trees, flattened for a trainer, and the right to acknowledge them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import isawaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from treeroll.checks import kind
from treeroll.client.credit import (
    NodeReward,
    RewardCounts,
    node_rewards,
    overruled,
    renew_record,
    renew_samples,
)
from treeroll.client.packed import PackedRow, packed
from treeroll.client.records import Delivery, Sample, TreeRecord, samples_in, samples_of
from treeroll.client.tensors import Padding, padded
from treeroll.client.training import Array, Training
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import common_pb2, rollout_pb2
from treeroll.whole_file import whole_file

if TYPE_CHECKING:
    import torch

    from treeroll.client.collect import CollectedTrees
    from treeroll.client.detached import DetachedBatch, DetachedTrees
    from treeroll.client.loop import LoopThread
    from treeroll.client.stream import Held, Meant

OVERRULED = (
    "rewards of scorer '%s', version %d, are not in force for %d samples of run '%s': the run has a scorer of its own, "
    "or there is a newer version"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that ended without a sample."""

    task_id: str
    tree_id: str
    error: str
    """One sentence."""
    status: str = "failed"
    """"failed", or "filtered" for one whose tree the run's filters dropped."""


class BatchData:
    """What a batch holds. Records are made on first use, in the caller's thread."""

    def __init__(self, leased: "Held | CollectedTrees | DetachedTrees") -> None:
        self._leased = leased

    @property
    def step(self) -> int:
        """Which batch this is: of its iterator, 1, 2, 3 ..., or for one of several ranks, of its group."""
        return self._leased.number

    @cached_property
    def global_trees(self) -> int:
        """Trees with samples, over all ranks that share this batch; here alone for a consumer that shares nothing."""
        return self._whole.global_trees if self._whole else len(self._leased.deliveries) - len(self.failures)

    @cached_property
    def global_samples(self) -> int:
        """Samples, over all ranks: with a mean over samples, the denominator of the loss."""
        return self._whole.global_samples if self._whole else len(self)

    @cached_property
    def global_tokens(self) -> int:
        """Sampled tokens of samples, over all ranks, a shared one once per sample: with a mean over tokens, the
        denominator of the loss. Tokens of samples without a reward are in it."""
        if self._whole:
            return self._whole.global_tokens
        return sum(int(sample.model_mask.sum()) for sample in self.samples)

    @property
    def _whole(self) -> "rollout_pb2.LeaseBatchReply | None":
        return self._leased.whole

    def __len__(self) -> int:
        """Number of samples; 0 when every task failed, or for a rank whose share of the step is empty."""
        return sum(samples_in(delivery) for delivery in self._leased.deliveries)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def __repr__(self) -> str:
        trees = len(self._leased.deliveries) - len(self.failures)
        return f"<{type(self).__name__}: {len(self)} samples of {trees} trees, {len(self.failures)} failures>"

    @cached_property
    def _read(self) -> list[tuple[common_pb2.Tree, list[Sample]]]:
        good = [delivery for delivery in self._leased.deliveries if samples_in(delivery)]
        return [(one.tree, samples_of(one.tree, current_version=one.weight_version)) for one in good]

    @cached_property
    def trees(self) -> list[TreeRecord]:
        """Trees with at least one sample, in order of delivery."""
        return [TreeRecord.from_proto(tree, samples) for tree, samples in self._read]

    @property
    def trainable(self) -> list[TreeRecord]:
        """Trees of which a token has an advantage: nothing is to be learnt from a batch without any, so do not step."""
        return [tree for tree in self.trees if any(map(_is_trainable, tree.samples))]

    @cached_property
    def samples(self) -> list[Sample]:
        """All samples: tree by tree, in path order within a tree."""
        return [sample for _, samples in self._read for sample in samples]

    @cached_property
    def failures(self) -> list[Failure]:
        """Tasks that ended without a sample, or were dropped by the run's filters. Acknowledged with the batch."""
        trees = [delivery.tree for delivery in self._leased.deliveries if not samples_in(delivery)]
        return [Failure(tree.task_id, tree.tree_id, tree.error, tree.status) for tree in trees]

    @cached_property
    def failed_trees(self) -> list[TreeRecord]:
        """Trees of the tasks in `failures`, in that order: what they cost, and why they have no sample."""
        deliveries = self._leased.deliveries
        return [TreeRecord.from_proto(delivery.tree) for delivery in deliveries if not samples_in(delivery)]

    @cached_property
    def deliveries(self) -> list[Delivery]:
        """How each tree, failed ones included, came here."""
        return [Delivery.from_proto(delivery) for delivery in self._leased.deliveries]

    @property
    def lost(self) -> list[str]:
        """Trees whose lease had moved on when the batch was acknowledged or given back; they come again."""
        return list(self._leased.lost)

    def detach(self) -> "DetachedBatch":
        """The batch as data: it can be pickled, and `Run.ack` acknowledges it from any process.

        Who holds its leases renews them still; it is acknowledged for all once it is anywhere.
        """
        from treeroll.client.detached import detached

        return detached(self._leased)

    def to_numpy(self, pad_id: int = 0, **options: Unpack[Padding]) -> dict[str, Array]:
        """Padded arrays; `treeroll.client.tensors.padded` has names, shapes and dtypes, `Padding` and
        `treeroll.client.training.Training` the options. InvalidInput when no token is trained on.
        """
        self._check_share()
        return padded(self.samples, pad_id, **options)

    def to_torch(self, pad_id: int = 0, *, device: Any = None, **options: Unpack[Padding]) -> "dict[str, torch.Tensor]":
        """Padded tensors under TRL's names: prompt_ids and prompt_mask [B, P] left-padded; completion_ids,
        completion_mask (real tokens), loss_mask (those to train on), sampling_per_token_logps, advantages and
        loss_weights [B, C] right-padded; rewards and path_weight [B]; the rest as in `treeroll.client.tensors.padded`.

        Samples without a reward have loss_mask 0; options and errors are those of `to_numpy`.
        """
        try:
            import torch
        except ModuleNotFoundError:
            raise InvalidInput("torch is not installed here: install treeroll[torch], or use to_numpy()") from None

        arrays = self.to_numpy(pad_id, **options)
        return {name: torch.from_numpy(array).to(device=device) for name, array in arrays.items()}

    def to_packed(
        self, max_tokens: int | None = None, trees_per_row: int = 1, **training: Unpack[Training]
    ) -> list[PackedRow]:
        """Rows in which every token of a tree is once, however many samples share it: their gradients add up to those
        of `to_torch`. docs/packed.md has the loss. Rows have at most `max_tokens` tokens and `trees_per_row` trees; a
        tree of more tokens is split by samples. Options and errors are those of `treeroll.client.packed.packed`.
        """
        self._check_share()
        return packed(self.samples, max_tokens, trees_per_row, training)

    def to_parquet(self, path: str | Path) -> None:
        """Write the samples, one row each (`treeroll.client.columns.SAMPLE_SCHEMA`). Whole or not at all."""
        import pyarrow.parquet as pq

        from treeroll.client.columns import samples_table

        with whole_file(Path(path)) as unfinished:
            pq.write_table(samples_table(self.samples), unfinished)

    def _check_share(self) -> None:
        if self._whole and not len(self):
            raise InvalidInput(
                f"this rank's share of step {self.step} has no samples: skip the forward pass, and take part in the "
                "step with gradients of 0 (check len(batch) first)"
            )

    async def _report(
        self, rewards: Sequence[NodeReward], scorer: str, version: int
    ) -> tuple[RewardCounts, list[common_pb2.Tree]]:
        counts = await self._leased.reports.report(rewards, scorer, version)
        named = {tree_id for tree_id, _, _ in rewards}
        return counts, await self._leased.reports.trees(
            [tree.tree_id for tree, _ in self._read if tree.tree_id in named]
        )

    async def _current(self) -> list[common_pb2.Tree]:
        return await self._leased.reports.trees([tree.tree_id for tree, _ in self._read])

    def _renew(self, trees: Iterable[common_pb2.Tree]) -> None:
        """Read in the caller's thread, as all records are."""
        places = {tree.tree_id: place for place, (tree, _) in enumerate(self._read)}
        for tree in trees:
            place = places[tree.tree_id]
            samples = self._read[place][1]
            renew_samples(samples, tree)
            self._read[place] = tree, samples
            if "trees" in self.__dict__:
                renew_record(self.trees[place], tree)

    def _reported(
        self, rewards: Sequence[NodeReward], scorer: str, version: int, trees: Iterable[common_pb2.Tree]
    ) -> None:
        self._renew(trees)
        if count := overruled(self.samples, rewards):
            self._leased.reports.warn_once(OVERRULED, scorer, version, count, self._leased.reports.run_id)


def _is_trainable(sample: Sample) -> bool:
    return sample.advantages is not None and bool(sample.advantages.any())


class Batch(BatchData):
    """A batch for synchronous code."""

    _leased: "Held | CollectedTrees"

    def __init__(self, leased: "Held | CollectedTrees", loop: "LoopThread") -> None:
        super().__init__(leased)
        self._loop = loop

    def ack(self) -> None:
        """Acknowledge: these trees never come again to this group. So does asking for the next batch.

        Raises LeaseLost naming the trees whose lease moved on; all others are acknowledged.
        """
        self._loop.run(self._leased.ack())

    def release(self) -> None:
        """Give the trees back at once, for another consumer of the group; no effect after `ack`, nor for a rank's
        share, which stays the rank's."""
        self._loop.run(self._leased.release())

    def report_rewards(
        self, rewards: Iterable[float | None] | Iterable[NodeReward], scorer: str = "client", version: int = 1
    ) -> RewardCounts:
        """Write rewards back, and give samples and trees here the credit that follows: `to_torch` has it then.

        One number per sample in the order of `samples`, None for no reward; or, as for `Run.report_rewards`, which has
        the errors, (tree id, path or node id, value), for other nodes too. Also InvalidInput for another number of
        rewards than samples. Only credit changes (`reward`, `rewards`, `reward_status`, `advantages`, `n_scored`), in
        the sample objects that are there. Repeating it has no other effect.
        """
        named = node_rewards(rewards, self.samples)
        counts, trees = self._loop.run(self._report(named, scorer, version))
        self._reported(named, scorer, version, trees)
        return counts

    def score(
        self, function: Callable[[Sample], float | None], scorer: str = "client", version: int = 1
    ) -> RewardCounts:
        """Compute every sample's reward in the caller's thread, and `report_rewards` them."""
        return self.report_rewards([function(sample) for sample in self.samples], scorer, version)

    def refresh(self) -> None:
        """Give samples and trees here the credit in force, after rewards of theirs were written back elsewhere."""
        self._renew(self._loop.run(self._current()))


class AsyncBatch(BatchData):
    """A batch for asynchronous code."""

    _leased: "Held | CollectedTrees"

    async def ack(self) -> None:
        """Acknowledge as `Batch.ack` does."""
        await self._leased.ack()

    async def release(self) -> None:
        """Give back as `Batch.release` does."""
        await self._leased.release()

    async def report_rewards(
        self, rewards: Iterable[float | None] | Iterable[NodeReward], scorer: str = "client", version: int = 1
    ) -> RewardCounts:
        """Report as `Batch.report_rewards` does."""
        named = node_rewards(rewards, self.samples)
        counts, trees = await self._report(named, scorer, version)
        self._reported(named, scorer, version, trees)
        return counts

    async def score(
        self,
        function: Callable[[Sample], float | Awaitable[float | None] | None],
        scorer: str = "client",
        version: int = 1,
    ) -> RewardCounts:
        """Score as `Batch.score` does; all calls of an asynchronous function run at once."""
        found = [function(sample) for sample in self.samples]
        waited = iter(await asyncio.gather(*[reward for reward in found if isawaitable(reward)]))
        rewards = [next(waited) if isawaitable(reward) else reward for reward in found]
        return await self.report_rewards(rewards, scorer, version)

    async def refresh(self) -> None:
        """Renew as `Batch.refresh` does."""
        self._renew(await self._current())


def meant(batch: BatchData | int) -> "Meant":
    """What an iterator knows a batch by: its trees, or the delivery_seq of one of them."""
    if isinstance(batch, int):
        return batch
    if not isinstance(batch, BatchData):
        raise InvalidInput(f"a batch or a delivery_seq was expected, got {kind(batch)}")
    return batch._leased
