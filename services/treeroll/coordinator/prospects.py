"""What consumers of a run may expect: what the core says of it, and whether anybody starts replicas."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from treeroll.coordinator.outage import Outage
from treeroll.core.model.run import DeliveryTerms, Outlook, Run
from treeroll.core.model.state import State
from treeroll.core.scheduling import prospects, runs
from treeroll.pb.v1 import rollout_pb2 as api


def nobody_knows(pool: str) -> int | None:
    """Of a service whose replicas are started by others."""
    return None


@dataclass(frozen=True, slots=True)
class Prospects:
    """Asked for every wait of every consumer: it looks at nothing that grows with the number of trees.

    `kept` says how many replicas of a pool somebody keeps alive, be they ready, starting or about to be started again;
    None: nobody here knows.
    """

    state: State
    kept: Callable[[str], int | None] = nobody_knows
    outage: Outage | None = None

    def outlook(self, run_id: str) -> Outlook:
        """What to expect of a run, or UnknownRun. StoreDown once another life of the service has the store."""
        if self.outage is not None and self.outage.over:
            raise self.outage.refusal()
        outlook = prospects.outlook(self.state, run_id)
        run = runs.get(self.state, run_id)
        if outlook.stuck or outlook.total == outlook.ended or self._ready(run) or self._kept(run) != 0:
            return outlook
        return replace(outlook, stuck="no replica is left, and none is started")

    def terms(self, run_id: str) -> DeliveryTerms:
        """What trees of a run are judged by when they are delivered, or UnknownRun."""
        return runs.delivery_terms(self.state, run_id)

    def tell(self, record: api.Run) -> None:
        """Write into a run's record what consumers may expect."""
        run, outlook = runs.get(self.state, record.run_id), self.outlook(record.run_id)
        record.drained, record.stuck = outlook.drained, outlook.stuck
        record.held_up, record.waits_for_group = prospects.held_up(self.state, run), prospects.waits_for_group(run)

    def tell_replicas(self, record: api.Run) -> None:
        """Write into a run's record how many replicas there are for it."""
        run = runs.get(self.state, record.run_id)
        record.replicas = self._ready(run)
        if (kept := self._kept(run)) is not None:
            record.replicas_starting = max(0, kept - record.replicas)

    def _ready(self, run: Run) -> int:
        return sum(len(self.state.pools[name].members) for name in run.spec.models)

    def _kept(self, run: Run) -> int | None:
        known = [kept for name in run.spec.models if (kept := self.kept(name)) is not None]
        return sum(known) if known else None
