"""Trees for torch's DataLoader: an IterableDataset whose workers each take trees of their own."""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

import treeroll
from treeroll.client import DetachedBatch
from treeroll.client.channel import Tls
from treeroll.client.detached import acknowledge
from treeroll.client.progress import GroupProgress, State
from treeroll.client.run import Batches, Run
from treeroll.client.stream import BatchOptions
from treeroll.errors import InvalidInput, LeaseLost
from treeroll.forks import generation
from treeroll.pb.v1 import rollout_pb2

# How long trees wait for an acknowledgement after the worker that took them is done, seconds.
LEFT_S = 3600.0


class TreeDataset(IterableDataset[DetachedBatch]):  # type: ignore[misc]  # torch is not checked
    """Batches of finished trees for `DataLoader(dataset, batch_size=None, num_workers=...)`.

    A client is made where the data is read: in the worker, or without workers in this process. Workers are consumers of
    one group, so each tree comes to one of them. Batches that are in the loader's queues are not acknowledged: that is
    done here, by `ack`, once a batch was trained on. With workers that are forked this process must connect to no
    service before the loader has started them, which this class heeds.
    """

    def __init__(
        self,
        address: str,
        run_id: str,
        trees: int = 1,
        group: str = "default",
        *,
        rank: int | None = None,
        world: int | None = None,
        token: str | None = None,
        tls: Tls = None,
        **options: Any,
    ) -> None:
        """`options`: start, lease_s, max_wait_s, timeout_s, prefetch and allow_empty of `Run.batches`.

        With `rank` and `world` batches are shares of global ones, and the loader has one worker at most. InvalidInput
        for values out of range.
        """
        super().__init__()
        self._connection: dict[str, Any] = {"address": address, "token": token, "tls": tls}
        self._run_id = run_id
        self._group = group
        self._options = {"trees": trees, "group": group, "rank": rank, "world": world, "ack": "manual", **options}
        self._state: State | None = None
        self._move_id = uuid.uuid4().hex
        self._progress: GroupProgress | None = None
        self._batch_options()

    def __iter__(self) -> Iterator[DetachedBatch]:
        worker = get_worker_info()
        if worker is not None and worker.num_workers > 1 and self._options["rank"] is not None:
            raise InvalidInput(
                f"a rank's batches come one after the other: num_workers is {worker.num_workers}, it must be 0 or 1"
            )
        run = self._connect()
        with Batches(run._run._stream(self._batch_options()), run._loop) as batches:
            for batch in batches:
                yield batch.detach()
                batch._leased.hand_over()
            batches.leave(LEFT_S)

    def ack(self, batch: DetachedBatch) -> None:
        """Acknowledge a batch that this process has trained on. Errors as for `Batch.ack`."""
        progress = self._current()
        run = self._connect()
        done = run._loop.run(acknowledge(run._run._channel, batch))
        if progress.is_older(batch._leased.deliveries):
            progress.hear(self._position(run))
        progress.add(done.trees, done.seen, done.step)
        if done.lost:
            raise LeaseLost(done.lost)

    def state_dict(self) -> State:
        """What a checkpoint keeps, as `Batches.state_dict` says: the trees that were acknowledged here, and before."""
        return self._current().state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin where a checkpoint was, from the next iteration on; errors as for `Batches.load_state_dict`, there."""
        progress = GroupProgress(self._run_id, self._group)
        request = progress.seek(state, "")
        progress.run_created, progress.steps = request.run_created, request.steps
        seen = {mark.owner_epoch: mark.last for mark in request.seen}
        progress.add([(pair.first, pair.last) for pair in request.acknowledged], seen)
        self._state, self._progress, self._move_id = dict(state), progress, uuid.uuid4().hex

    def _batch_options(self) -> BatchOptions:
        return BatchOptions(**self._options, state=self._state, move_id=self._move_id)

    def _connect(self) -> Run:
        return _run(**self._connection, run_id=self._run_id)

    def _current(self) -> GroupProgress:
        """Where the group is. Asked of the service once, after workers have started: only this process moves it on."""
        if self._progress is None:
            progress = GroupProgress(self._run_id, self._group)
            progress.take(self._position(self._connect()))
            self._progress = progress
        return self._progress

    def _position(self, run: Run) -> rollout_pb2.GroupPosition:
        request = rollout_pb2.OpenGroupRequest(run_id=self._run_id, group=self._group)
        return run._loop.run(run._run._channel.call("OpenGroup", request, rollout_pb2.GroupPosition))


_runs: dict[tuple[int, str, str], Run] = {}


def _run(address: str, run_id: str, **connection: Any) -> Run:
    """This process's client of the run, made on first use."""
    key = (generation(), address, run_id)
    if key not in _runs:
        _runs[key] = treeroll.connect(address, **connection).run(run_id)
    return _runs[key]
