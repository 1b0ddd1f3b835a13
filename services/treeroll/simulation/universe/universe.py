"""A world in which everything that can fail does: the actors, what disturbs them, and what must hold all the same."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from treeroll.config import RunConfig
from treeroll.coordinator.reports import read_tokens
from treeroll.coordinator.specs import run_spec
from treeroll.core.invariants import violations
from treeroll.core.model.events import SegmentReported
from treeroll.core.model.live_tree import LiveTree
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.simulation.event_queue import EventQueue
from treeroll.simulation.universe import ending
from treeroll.simulation.universe.clients import Submitter
from treeroll.simulation.universe.drainer import Drainer
from treeroll.simulation.universe.faults import ENDS_S, UNTIL_S, Faults
from treeroll.simulation.universe.faulty_store import FaultyStore
from treeroll.simulation.universe.life import Life, Observed
from treeroll.simulation.universe.notices import Notices
from treeroll.simulation.universe.oracles import Broken, Deliveries
from treeroll.simulation.universe.publisher import Canceller, Publisher
from treeroll.simulation.universe.ranks import GROUP, Ranks
from treeroll.simulation.universe.reporter import Reporter
from treeroll.simulation.universe.rewinder import Rewinder
from treeroll.simulation.universe.succession import Succession
from treeroll.simulation.universe.surroundings import VOCABULARY
from treeroll.simulation.universe.trainer import Trainer
from treeroll.simulation.universe.undisturbed import Undisturbed
from treeroll.simulation.universe.usurper import Usurper
from treeroll.simulation.universe.virtual_server import VirtualServer
from treeroll.simulation.universe.work import Work
from treeroll.simulation.world import SEGMENT_TOKENS
from treeroll.store.base import GroupPosition, Lease, StoredTree

DAWN = 1.8e9
HOUR = 3600.0
# Events between two looks at whether all is done.
LOOK_EVERY = 16

# Where a segment begins: its tree, the seed of its branch, and the tokens before it.
Place = tuple[str, int, int]


@dataclass
class Universe(Undisturbed):
    """One run over a fleet, with a submitter and two trainers.

    `work` says what else than in a world of the core is done. `crash_at`: a coordinator also dies at these points, by
    number.
    """

    faults: Faults = field(default_factory=Faults)
    work: Work = field(default_factory=Work)
    crash_at: frozenset[int] = frozenset()
    coordinator_class: type[Observed] = Observed
    store_class: type[FaultyStore] = FaultyStore

    def __post_init__(self) -> None:
        super().__post_init__()
        self.random = random.Random(f"universe-{self.seed}")  # noqa: S311 - a simulation
        self.events = EventQueue()
        self.core = replace(self.state.settings, read_tokens=read_tokens)
        self.config = self._config()
        self.spec = run_spec(self.spec.run_id, self.config, VOCABULARY, pools=tuple(self.state.pools))
        self.trace: list[str] = []
        self.broken: list[Broken] = []
        self.deliveries = Deliveries()
        self.steps = 0
        self.in_force: dict[str, int] = {}
        """The version of weights in force, by pool."""
        self.gone: dict[str, StoredTree] = {}
        """Trees that have expired."""
        self._last: dict[str, Any] = {}
        self.generated = self.regenerated = 0
        """Tokens that engines made, and those of them that one had made, and reported, before."""
        self._made: set[Place] = set()
        self._jump = 0.0
        self.is_usurped = False
        """A pool was of another model than at first, as nothing needed that: whoever has the first may be refused."""
        self.usurpers: list[Usurper] = []
        self.succession = Succession(self)
        self.store = self.store_class(lambda: self.events.now, self.random, self.faults, self)
        tasks = [self._task(number, epoch) for epoch in range(self.epochs) for number in range(self.tasks)]
        self.wanted = {task.tree_id: task for task in tasks}

    def _config(self) -> RunConfig:
        """What a client sends to have the world's trees grown, and a coordinator that recovers reads again."""
        judge = self.spec.scorer if self.spec.judge else None
        return RunConfig.model_validate(
            {
                "recipe": self.recipe, "leaves": self.leaves, "segment_tokens": SEGMENT_TOKENS,
                "max_depth": self.max_depth, "seed": self.spec.seed, "scorer": self.spec.scorer, "judge": judge,
                **self.overrides, **self.work.settings,
            }
        )  # fmt: skip

    # Time and chance:

    def after(self, seconds: float, action: Callable[..., None], *args: Any) -> None:
        """Something happens later."""
        self.events.at(self.events.now + seconds, lambda now: action(*args))

    def happens(self, share: float) -> bool:
        """Whether a fault happens now."""
        if share <= 0 or self.events.now > UNTIL_S:
            return False
        return self.random.random() < share

    def wall(self) -> float:
        """What the machines' clocks show."""
        return DAWN + self.events.now + self._jump

    def note(self, what: str) -> None:
        """A line of the trace."""
        self.trace.append(f"{self.events.now:9.4f} {what}")

    def found(self, promise: str, what: str) -> None:
        """A promise was broken."""
        self.note(f"BROKEN {promise}: {what}")
        self.broken.append(Broken(promise, what))

    # The whole world:

    def simulate(self) -> list[Broken]:
        """To its end, or to the first broken promise."""
        self._plan()
        self.succession.start()
        self.servers = [VirtualServer(self, name) for name in self.incarnation]
        if self.faults.other_models:
            self.usurpers = [Usurper(self, pool) for pool in self.state.pools]
            self.servers += self.usurpers
        tasks = list(self.wanted.values())
        self.notices = Notices(self)
        self.submitter = Submitter(self, self.config.model_dump_json(), tasks)
        self.trainers = [Trainer(self, f"trainer{number}", self.spec.run_id) for number in range(2)]
        self.publishers = [Publisher(self, pool, self.work.versions) for pool in self.state.pools]
        self.reporter = Reporter(self)
        cancelled_at = self.work.cancelled_at
        self.canceller = None if cancelled_at is None else Canceller(self, cancelled_at)
        self.ranks = Ranks(self) if self.work.ranks else None
        self.rewinder = None if self.work.sought_at is None else Rewinder(self, self.work.sought_at)
        self.drainer = None if self.work.drained_at is None else Drainer(self, self.work.drained_at)
        try:
            while not self.broken and (self.steps % LOOK_EVERY or not self._is_over()):
                if not self.events.run(1) or self.events.now > UNTIL_S + ENDS_S:
                    self.found("Progress", f"after {self.events.now:.0f} s the work has not ended: {self._left()}")
                self.steps += 1
                self.succession.look()
        finally:
            self.succession.bury()
        if not self.broken:
            if self._last:
                vars(self.store).update(self._last)
            for one in ending.check(self):
                self.found(one.promise, one.what)
        return self.broken

    def _plan(self) -> None:
        chance, faults = self.random, self.faults
        for _ in range(faults.outages):
            self.after(chance.uniform(0, UNTIL_S), self._outage, chance.choice((1.0, 5.0, 15.0)))
        for _ in range(faults.pauses):
            self.after(chance.uniform(0, UNTIL_S), self.succession.pause)
        for _ in range(faults.replica_deaths):
            self.after(chance.uniform(0, UNTIL_S), self._kill_server)
        for _ in range(faults.trainer_deaths):
            self.after(chance.uniform(0, UNTIL_S), self._kill_trainer)
        for _ in range(faults.replica_drains):
            self.after(chance.uniform(0, UNTIL_S), self._drain_server)
        for _ in range(faults.wall_jumps):
            self.after(chance.uniform(0, UNTIL_S), self._jump_by, chance.choice((-HOUR, HOUR)))

    def _outage(self, seconds: float) -> None:
        self.note(f"the store is away for {seconds:g} s")
        self.store.down_until = max(self.store.down_until, self.events.now + seconds)

    def _kill_server(self) -> None:
        server = self.random.choice(self.servers)
        if server.alive:
            self.note(f"{server.name} dies")
            server.die()

    def _drain_server(self) -> None:
        self.notices.give(self.random.choice(self.servers), self.random.choice((0.5, 5.0, 60.0)))

    def _kill_trainer(self) -> None:
        trainer = self.random.choice(self.trainers)
        self.note(f"{trainer.name} dies")
        trainer.die()

    def _jump_by(self, seconds: float) -> None:
        self.note(f"the wall clock jumps by {seconds:g} s")
        self._jump += seconds

    def decoded(self, place: Place, made: SegmentReported) -> None:
        """An engine has come to the end of a segment, or was stopped before."""
        self.generated += made.n_tokens + made.dropped_tokens
        if made.n_tokens:
            self.regenerated += made.n_tokens if place in self._made else 0
            self._made.add(place)

    # What happens in coordinators, in the store, and at clients:

    def point(self, where: str) -> None:
        """A coordinator is between two things that it does."""
        self.succession.point(where)

    def recovered(self, life: Life) -> None:
        """A coordinator has taken up what it found."""
        self.state = life.coordinator.state
        self.succession.recovered(life)
        for usurper in self.usurpers:
            usurper.come()

    def ticked(self, life: Life, coordinator: Observed) -> None:
        """A tick is durable."""
        models = [pool.model for pool in coordinator.state.pools.values() if self.usurpers]
        self.is_usurped |= any(model is not None and model.digest == Usurper.digest for model in models)
        if life is self.succession.life:
            pools = coordinator.state.pools.items()
            self.in_force = {name: pool.weights.current.version for name, pool in pools}
            run = coordinator.state.runs.get(self.spec.run_id)
            self.notices.ticked(coordinator.state)
            if self.canceller is not None and self.canceller.told and run is not None and run.state != "cancelled":
                self.found("NoAckedLoss", f"run {self.spec.run_id} was cancelled, and is {run.state}")
        if self.drainer is not None:
            self.drainer.ticked(coordinator.state)
        for what in violations(coordinator.state):
            self.found("Invariants", str(what))
        if coordinator.violations:
            self.found("Invariants", f"the coordinator counts {coordinator.violations}")
        if coordinator.figures.unsaid:
            self.found("ServiceLives", "the coordinator could not say how it is")

    def lent(self, group: str, lease: Lease, lease_s: float) -> None:
        """An entry is lent."""
        self.note(f"{lease.tree_id} is lent as {lease.lease_id}")
        if broken := self.deliveries.lent(group, lease, self.events.now, lease_s):
            self.found(broken.promise, broken.what)

    def released(self, group: str, lease_id: str) -> None:
        """An entry is given back."""
        self.note(f"{lease_id} is given back")
        self.deliveries.released(group, lease_id)

    def moved(self, group: str, position: GroupPosition) -> None:
        """A group has another past."""
        self.note(f"group {group} goes to epoch {position.epoch}")
        self.deliveries.moved(group, position)
        for trainer in self.trainers:
            trainer.wake()

    def renewed(self, group: str, lease_id: str, lease_s: float) -> None:
        """A lease begins anew."""
        self.deliveries.renewed(group, lease_id, self.events.now, lease_s)

    def forgot(self) -> None:
        """The store went back in time."""
        lost = "all that it has" if self.faults.emptied else f"its last {self.faults.forgotten} commits"
        self.note(f"the store loses {lost}")
        self.deliveries.forget()
        for publisher in self.publishers:
            publisher.forget()
        self.reporter.forget()
        self._last = {}
        for actor in (self.canceller, self.rewinder, self.ranks):
            if actor is not None:
                actor.forget()
        for trainer in self.trainers:
            trainer.wake()
        self.succession.forgot()

    def acked(self, group: str, lease_id: str, tree_id: str) -> None:
        """A trainer was told that it is done with a tree."""
        self.note(f"{tree_id} is acknowledged")
        self.deliveries.acked(group, lease_id, self.events.now)

    def delivered(self, delivery: api.Delivery, in_force: Mapping[str, int]) -> None:
        """A trainer has a tree; it asked for it when these weights were in force."""
        tree, bound = delivery.tree, self.spec.staleness
        said = self.deliveries.read(delivery.tree_id, tree.nodes, self.spec.scorer or "") if delivery.samples else None
        if said is not None:
            self.found(said.promise, said.what)
        own = [node for node in tree.nodes if not node.HasField("model")]
        trained = [span for node in own for span in node.weight_versions]
        if trained and delivery.samples and bound is not None and bound.withhold and self.store.lost_at is None:
            behind = in_force.get(tree.model, 0) - min(span.version for span in trained)
            if behind > bound.versions:
                told = f"{delivery.tree_id} is delivered, {behind} versions behind, and may be {bound.versions}"
                self.found("StalenessBound", told)
        if self.work.reports:
            self.reporter.delivered(delivery.tree_id)

    def expired(self, tree_id: str, tree: Any) -> None:
        """A tree was removed from the store."""
        self.note(f"{tree_id} expires")
        self.gone[tree_id] = StoredTree(tree.header, tree.nodes, tree.rewards)

    def deletes(self, run_id: str) -> None:
        """A run is to be removed from the store: with all that is known of it, which is looked at in the end."""
        self.note(f"run {run_id} is deleted")
        lost = self.succession.untold or run_id not in self.store._runs  # what is left of it goes, and it comes again
        if not self._last and not lost:
            if self._settled() < len(self.store._tasks.get(run_id, {})):
                self.found("NoAckedLoss", f"run {run_id} is deleted, and not all of its trees are acknowledged")
            self._last = self.store.content()

    def reward(self, live: LiveTree, node: int) -> float | None:
        """What the run's scorer says of a leaf."""
        return self._reward(live, node)

    @property
    def deleted(self) -> bool:
        """Whether the run is on its way out of the store."""
        return bool(self._last)

    # The end:

    def _is_over(self) -> bool:
        actors = self.submitter, *self.publishers, self.drainer, self.rewinder
        if self.succession.untold or not all(actor.done for actor in actors if actor is not None):
            return False
        if self._last and self.spec.run_id not in self.store._runs:
            return True
        if self.ranks is not None and GROUP not in self.store._groups.get(self.spec.run_id, {}):
            return False
        settled, tasks = self._settled(), self.store._tasks.get(self.spec.run_id, {})
        if self.work.keep_finished_s is not None or settled < len(tasks):
            return False
        if self.canceller is not None and not self.canceller.told:
            return False
        life = self.succession.life
        return life is not None and life.serves and life.epoch == self.store._epoch

    def _settled(self) -> int:
        groups = self.store._groups.get(self.spec.run_id, {})
        return min((group.settled() for group in groups.values()), default=0)

    def _left(self) -> str:
        fed = len(self.store._feeds.get(self.spec.run_id, []))
        return f"{fed} of {len(self.wanted)} trees have ended, {self._settled()} are acknowledged"

    def trees(self) -> dict[str, StoredTree]:
        """All that there were, by id, also those that have expired."""
        trees = self.store._trees.items()
        return self.gone | {name: StoredTree(tree.header or b"", tree.nodes, tree.rewards) for name, tree in trees}
