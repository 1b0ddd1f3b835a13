"""Clients of a universe: who submits, and trainers that lease, renew, acknowledge, repeat themselves and die."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from treeroll.core.model.events import Event, RunClosed, RunCreated, TasksSubmitted
from treeroll.core.model.run import RunSpec, TaskSpec
from treeroll.errors import RunClosed as IsClosed
from treeroll.errors import StaleEpoch, Unavailable, UnknownRun
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.simulation.universe.faulty_store import FaultyStore
from treeroll.simulation.universe.life import Life

if TYPE_CHECKING:
    from treeroll.simulation.universe.universe import Universe

AGAIN_S, TIMEOUT_S, LATE_S = 0.5, 4.0, 6.0
LEASE_S = 6.0
GROUP = "trainers"

Work = Callable[[Life], Coroutine[Any, Any, Any]]


class Request:
    """A unary call that is repeated until it is answered. What is on its way may still act later, or never."""

    def __init__(self, universe: "Universe", work: Work, answered: Callable[[Any, Exception | None], None]) -> None:
        self.over = False
        self._universe, self._work, self._answered = universe, work, answered
        self._tries = 0
        self._send()

    def _send(self) -> None:
        if self.over:
            return
        universe, faults = self._universe, self._universe.faults
        self._tries += 1
        universe.after(TIMEOUT_S, self._again, self._tries)
        if universe.happens(faults.requests_lost):
            universe.note("a request is lost")
        else:
            late = LATE_S if universe.happens(faults.late) else 0.0
            universe.after(late + 0.02 * universe.random.random(), self._arrive, universe.events.now)

    def _again(self, tried: int) -> None:
        if tried == self._tries:
            self._send()

    def _arrive(self, sent_at: float) -> None:
        lost_at = self._universe.store.lost_at
        if lost_at is not None and sent_at < lost_at:
            return  # clients begin anew when they are told: nobody could tell what is from before from what is not
        life = self._universe.called()
        if life is not None and life.serves:
            life.ask(partial(self._work, life), self._reply)
        # Otherwise nobody answers, and it is sent again.

    def _reply(self, got: Any, error: Exception | None) -> None:
        universe = self._universe
        if universe.happens(universe.faults.replies_lost):
            universe.note("a reply is lost")
        else:
            universe.after(0.02 * universe.random.random(), self._settle, got, error)

    def _settle(self, got: Any, error: Exception | None) -> None:
        if self.over:
            return
        if isinstance(error, Unavailable | StaleEpoch):
            self._tries += 1
            self._universe.after(AGAIN_S, self._send)
            return
        self.over = True
        self._answered(got, error)


class Submitter:
    """Creates the run, submits its tasks in two parts, and closes it. What it was told is done it never repeats."""

    def __init__(self, universe: "Universe", spec: RunSpec, tasks: list[TaskSpec]) -> None:
        self.done = False
        self._request: Request | None = None
        half = (len(tasks) + 1) // 2
        self._universe, self._spec = universe, spec
        self._parts = [tasks[:half], tasks[half:]]
        self._begin()

    def _begin(self) -> None:
        self._steps: list[Callable[[], Event]] = [
            lambda: RunCreated(self._spec, self._universe.wall()),
            *(lambda part=part: TasksSubmitted(self._spec.run_id, part) for part in self._parts),
            lambda: RunClosed(self._spec.run_id),
        ]
        self._next()

    def again(self) -> None:
        """The service has lost what it had answered for, and says so: whoever submitted submits again."""
        self.done = False
        if self._request is not None:
            self._request.over = True
        self._begin()

    def _next(self) -> None:
        if not self._steps:
            self.done = True
            return
        event = self._steps[0]()
        self._request = Request(self._universe, lambda life: life.coordinator.call(event), self._answered)

    def _answered(self, got: Any, error: Exception | None) -> None:
        if isinstance(error, UnknownRun) and self._universe.store.lost_at is not None:
            self._begin()
            return
        if error is not None and not isinstance(error, IsClosed):  # closed by a request that was thought lost
            self._universe.found("Answered", f"the client is told {type(error).__name__}: {error}")
            return
        self._steps.pop(0)
        self._next()


class Trainer:
    """A consumer: one after the other, under another name after each death."""

    def __init__(self, universe: "Universe", name: str, run_id: str) -> None:
        self.name, self.lives = name, 0
        self._universe, self._run_id = universe, run_id
        self._requests = 0
        self._pending: list[Request] = []
        self._held: dict[str, str] = {}
        """Lease id -> tree id."""
        self.finished = False
        self.born()

    def born(self) -> None:
        """A process begins."""
        self.lives += 1
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

    def _ask(self, work: Work, answered: Callable[[Any, Exception | None], None]) -> None:
        self._pending = [request for request in self._pending if not request.over]
        self._pending.append(Request(self._universe, work, answered))

    def _lease(self, life: int) -> None:
        if life != self.lives:
            return
        self._requests += 1
        request = api.LeaseTreesRequest(
            run_id=self._run_id, group=GROUP, consumer=f"{self.name}.{life}", max_trees=2, lease_s=LEASE_S, wait_s=2.0,
            stored=True, request_id=f"{life}.{self._requests}",
        )  # fmt: skip
        self._ask(lambda served: served.feed.lease(request), lambda got, error: self._leased(life, got, error))

    def _leased(self, life: int, got: bytes | None, error: Exception | None) -> None:
        if life != self.lives:
            return
        universe = self._universe
        if error is not None and not isinstance(error, UnknownRun):
            universe.found("Answered", f"{self.name} asks for trees and is told {type(error).__name__}: {error}")
            return
        reply = api.LeaseTreesReply.FromString(got or b"")
        for delivery in reply.deliveries:
            self._held[delivery.lease_id] = delivery.tree.tree_id
            universe.after(universe.random.expovariate(0.5), self._ack, life, delivery.lease_id)
        self.finished = reply.exhausted
        universe.after(1.0 if error or reply.exhausted else 0.1, self._lease, life)

    def _ack(self, life: int, lease_id: str) -> None:
        if life != self.lives or lease_id not in self._held:
            return

        def answered(told: tuple[list[str], float | None] | None, error: Exception | None) -> None:
            if told == ([], self._universe.store.lost_at):  # or it was forgotten before the answer came
                self._universe.acked(GROUP, lease_id, self._held.get(lease_id, ""))
            self._held.pop(lease_id, None)

        self._ask(lambda served: acked(served, self._universe.store, self._run_id, lease_id), answered)

    def _renew(self, life: int) -> None:
        if life != self.lives:
            return
        if ids := sorted(self._held):
            store = self._universe.store

            def answered(lost: list[str] | None, error: Exception | None) -> None:
                for lease_id in lost or ():
                    self._held.pop(lease_id, None)

            self._ask(lambda served: store.renew(self._run_id, GROUP, ids, LEASE_S), answered)
        self._universe.after(LEASE_S / 3, self._renew, life)


async def acked(life: Life, store: FaultyStore, run_id: str, lease_id: str) -> tuple[list[str], float | None]:
    """The handler of AckTrees: leases that had moved on; and when the store last lost something."""
    lost = await store.ack(run_id, GROUP, [lease_id])
    life.feed.notify(run_id)
    return lost, store.lost_at
