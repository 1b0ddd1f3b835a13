"""Trainers of a universe: they lease trees, renew, acknowledge, repeat themselves and die."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from treeroll.errors import Drained, GroupMoved, UnknownRun
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.simulation.universe.requests import Answered, Request
from treeroll.simulation.universe.surroundings import Aborted, refused

if TYPE_CHECKING:
    from treeroll.simulation.universe.universe import Universe

LEASE_S = 6.0
GROUP = "trainers"


class Trainer:
    """A consumer: one after the other, under another name after each death."""

    def __init__(self, universe: "Universe", name: str, run_id: str) -> None:
        self.name, self.lives = name, 0
        self._universe, self._run_id = universe, run_id
        self._requests = 0
        self._pending: list[Request] = []
        self.rests = False
        self._woken = 0
        self._held: dict[str, str] = {}
        """Lease id -> tree id."""
        self.born()

    def born(self) -> None:
        """A process begins."""
        self.lives += 1
        self.rests = False
        self._held.clear()
        self._lease(self.lives)
        self._universe.after(LEASE_S / 3, self._renew, self.lives)

    def die(self) -> None:
        """With all that it holds. What it has sent may still arrive."""
        self.lives += 1
        for request in self._pending:
            request.over = True
        self._pending.clear()
        self._universe.after(1.0, self.born)

    def _ask(self, method: str, message: Message, answered: Answered) -> None:
        self._pending = [request for request in self._pending if not request.over]
        self._pending.append(Request(self._universe, method, message, answered))

    def _lease(self, life: int) -> None:
        if life != self.lives:
            return
        self._requests += 1
        request = api.LeaseTreesRequest(
            run_id=self._run_id, group=GROUP, consumer=f"{self.name}.{life}", max_trees=2, lease_s=LEASE_S, wait_s=2.0,
            stored=True, request_id=f"{life}.{self._requests}",
        )  # fmt: skip
        asked_of, woken = dict(self._universe.in_force), self._woken
        self._ask("LeaseTrees", request, lambda got, error: self._leased(life, got, error, asked_of, woken))

    def _leased(
        self, life: int, got: bytes | None, error: Aborted | None, asked_of: Mapping[str, int], woken: int
    ) -> None:
        if life != self.lives:
            return
        universe = self._universe
        if self._is_trouble(error):
            return
        reply = api.LeaseTreesReply.FromString(got or b"")
        for delivery in reply.deliveries:
            self._held[delivery.lease_id] = delivery.tree_id
            universe.delivered(delivery, asked_of)
            universe.after(universe.random.expovariate(0.5), self._ack, life, delivery.lease_id)
        news = woken != self._woken  # what an answer on its way does not know of
        if reply.exhausted and universe.work.keep_finished_s is not None and not news:
            self.rests = True  # whoever goes on asking wants the run kept
        else:
            universe.after(1.0 if error or reply.exhausted else 0.1, self._lease, life)

    def wake(self) -> None:
        """There may be more."""
        self._woken += 1
        if self.rests:
            self.rests = False
            self._lease(self.lives)

    def _is_trouble(self, error: Aborted | None) -> bool:
        """A run that is not there yet, or not any more, is none, nor is a service that drains or a group that moved."""
        if error is None or refused(error, UnknownRun, Drained, GroupMoved):
            return False
        self._universe.found("Answered", f"{self.name} is told {error}")
        return True

    def _ack(self, life: int, lease_id: str) -> None:
        if life != self.lives or lease_id not in self._held:
            return

        def answered(told: api.LeasesReply | None, error: Aborted | None) -> None:
            if not self._is_trouble(error) and told is not None and not told.lost:
                self._universe.acked(GROUP, lease_id, self._held.get(lease_id, ""))
            self._held.pop(lease_id, None)

        self._ask("AckTrees", api.AckTreesRequest(**self._naming([lease_id])), answered)

    def _renew(self, life: int) -> None:
        if life != self.lives:
            return
        if self._held:

            def answered(told: api.LeasesReply | None, error: Aborted | None) -> None:
                for lease_id in told.lost if told is not None else ():
                    self._held.pop(lease_id, None)

            request = api.RenewLeasesRequest(**self._naming(sorted(self._held)), lease_s=LEASE_S)
            self._ask("RenewLeases", request, answered)
        self._universe.after(LEASE_S / 3, self._renew, life)

    def _naming(self, lease_ids: Sequence[str]) -> dict[str, Any]:
        return {"run_id": self._run_id, "group": GROUP, "lease_ids": lease_ids}
