"""Ranks of one trainer, which share global batches of a group of their own."""

from typing import TYPE_CHECKING

from treeroll import ranges
from treeroll.errors import Drained, GroupMoved, UnknownRun
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.ranges import Range
from treeroll.simulation.universe.oracles import Broken
from treeroll.simulation.universe.requests import Request
from treeroll.simulation.universe.surroundings import Aborted, refused

if TYPE_CHECKING:
    from treeroll.simulation.universe.universe import Universe

GROUP, WORLD, TREES = "ranks", 2, 2
AGAIN_S = 1.0
# How often a group was moved, and a global batch of it.
Step = tuple[int, int]


class Ranks:
    """What they were told: a batch is the same for both, each tree is in one batch, and in one share of it."""

    def __init__(self, universe: "Universe") -> None:
        self._universe = universe
        self._wholes: dict[Step, list[Range]] = {}
        self._shares: dict[tuple[Step, int], list[Range]] = {}
        for rank in range(WORLD):
            Rank(universe, self, rank)

    def forget(self) -> None:
        """The store may have lost their batches."""
        self._wholes.clear()
        self._shares.clear()

    def took(self, step: Step, rank: int, whole: list[Range], share: list[Range]) -> None:
        """A rank has its share of a batch."""
        if self._wholes.setdefault(step, whole) != whole:
            self._found(step, f"is {whole} for rank {rank}, and {self._wholes[step]} for another or before")
        if self._shares.setdefault((step, rank), share) != share:
            self._found(step, f"gives rank {rank} {share}, and gave it {self._shares[step, rank]} before")

    def _found(self, step: Step, what: str) -> None:
        self._universe.found("DeliveredOnceAcked", f"global batch {step[1]} {what}")

    def check(self, trees: int) -> list[Broken]:
        """Whether all trees of the feed are in batches, and all of a batch in its shares."""
        if self._universe.store.lost_at is not None:
            return []
        found = []
        for step, whole in self._wholes.items():
            shares = [self._shares.get((step, rank), []) for rank in range(WORLD)]
            parts = [one for share in shares for one in share]
            if ranges.merged(parts) != whole or ranges.count(parts) != ranges.count(whole):
                found.append(Broken("DeliveredOnceAcked", f"global batch {step[1]} of {whole} is shared as {shares}"))
        batches = [one for whole in self._wholes.values() for one in whole]
        if ranges.merged(batches) != ranges.of(range(1, trees + 1)) or ranges.count(batches) != trees:
            found.append(Broken("DeliveredOnceAcked", f"the {trees} trees are in batches of {batches}"))
        return found


class Rank:
    """Takes its share of one batch after the other."""

    def __init__(self, universe: "Universe", told: Ranks, rank: int) -> None:
        self._universe, self._told, self._rank = universe, told, rank
        self._epoch = 0
        self._trees = min(TREES, universe.work.settings.get("ahead", TREES))  # or batches are never full
        self._lease()

    def _named(self) -> dict[str, object]:
        return {"run_id": self._universe.spec.run_id, "group": GROUP, "group_epoch": self._epoch}

    def _lease(self) -> None:
        request = api.LeaseBatchRequest(**self._named(), rank=self._rank, world=WORLD, trees=self._trees, wait_s=2.0)  # type: ignore[arg-type]
        Request(self._universe, "LeaseBatch", request, self._leased)

    def _leased(self, got: bytes | None, error: Aborted | None) -> None:
        if self._is_refused(error):
            return
        universe, reply = self._universe, api.LeaseBatchReply.FromString(got or b"")
        if not reply.step:
            universe.after(AGAIN_S, self._lease)
            return
        whole = [(pair.first, pair.last) for pair in reply.global_seqs]
        share = ranges.of(delivery.delivery_seq for delivery in reply.deliveries)
        self._told.took((self._epoch, reply.step), self._rank, whole, share)
        universe.after(universe.random.expovariate(0.5), self._ack, reply.step)

    def _ack(self, step: int) -> None:
        request = api.AckBatchRequest(**self._named(), step=step, rank=self._rank, world=WORLD)  # type: ignore[arg-type]
        Request(self._universe, "AckBatch", request, self._acked)

    def _acked(self, got: object, error: Aborted | None) -> None:
        if not self._is_refused(error):
            self._lease()

    def _is_refused(self, error: Aborted | None) -> bool:
        if error is None:
            return False
        if refused(error, GroupMoved):
            request = api.OpenGroupRequest(run_id=self._universe.spec.run_id, group=GROUP)
            Request(self._universe, "OpenGroup", request, self._opened)
        elif refused(error, UnknownRun, Drained) or self._universe.store.lost_at is not None:
            self._universe.after(AGAIN_S, self._lease)
        else:
            self._universe.found("Answered", f"rank {self._rank} is told {error}")
        return True

    def _opened(self, position: api.GroupPosition | None, error: Aborted | None) -> None:
        if position is not None:
            self._epoch = position.epoch
        self._universe.after(AGAIN_S, self._lease)
