"""Has pools follow their demand: looks at each once a second, at what snapshots count anyway, and tells fleets."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from treeroll import clock
from treeroll.autoscale.consumption import cap
from treeroll.autoscale.law import Decision, Law, Signal
from treeroll.autoscale.terms import Terms
from treeroll.coordinator.consumers_rate import ConsumersRate
from treeroll.coordinator.elastic import Elastic
from treeroll.coordinator.fleet_plane import FleetPlane
from treeroll.coordinator.loop import Coordinator
from treeroll.core.model.pool import Pool
from treeroll.core.scheduling.prospects import goes_on, startable
from treeroll.errors import TreerollError
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.pb.v1 import watch_pb2 as watch
from treeroll.sparing_log import Sparing

log = logging.getLogger(__name__)
log.addFilter(Sparing())

REFUSED = "refused"
# A fleet that could not be told is left alone for so long, seconds.
REST_S = 10.0


@dataclass(slots=True)
class _Scaled:
    """One pool that follows its demand."""

    pool: Pool
    law: Law
    consumers: ConsumersRate
    decision: Decision | None = None
    told: Counter[str] = field(default_factory=Counter)
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Autoscaler:
    """Of one life of the service. Pools without terms have as many replicas as they were given."""

    def __init__(
        self, coordinator: Coordinator, fleets: FleetPlane, elastic: Elastic, terms: Mapping[str, Terms]
    ) -> None:
        self._coordinator, self._fleets, self._elastic = coordinator, fleets, elastic
        pools = coordinator.state.pools
        self._scaled = {
            name: _Scaled(pools[name], Law(of), ConsumersRate(coordinator, pools[name])) for name, of in terms.items()
        }

    @property
    def pools(self) -> list[str]:
        """Names of those that follow their demand."""
        return list(self._scaled)

    def decision(self, pool: str) -> Decision | None:
        """The latest of a pool; None: it does not follow its demand, or no fleet says anything of it."""
        scaled = self._scaled.get(pool)
        return scaled.decision if scaled is not None else None

    def kept(self, pool: str) -> int | None:
        """How many replicas of a pool are kept alive, or come as soon as somebody wants them; see `Prospects`."""
        kept = self._fleets.kept(pool)
        return 1 if kept == 0 and pool in self._scaled else kept

    def look(self, point: watch.Snapshot, groups: Sequence[watch.GroupFigures]) -> None:
        """Decide for all pools, by what was just counted of them, and write that there too."""
        for figures in point.pools:
            if (scaled := self._scaled.get(figures.name)) is None:
                continue
            if self._coordinator.outage.since is None:
                self._decide(scaled, figures, groups)
            if scaled.decision is not None:
                figures.desired_replicas = scaled.decision.desired
                figures.desired_because = scaled.decision.because()
            figures.scalings.update(scaled.told)

    def _decide(self, scaled: _Scaled, figures: watch.PoolFigures, groups: Sequence[watch.GroupFigures]) -> None:
        name, now = figures.name, clock.monotonic()
        size = self._fleets.wanted(name)
        if size is None or not self._fleets.having(name):
            scaled.decision = None
            return
        state = self._coordinator.state
        found = scaled.consumers.look(now, groups, figures.ready_replicas)
        decision = scaled.decision = scaled.law.look(
            Signal(
                now,
                size,
                live=figures.running + figures.stopping,
                waiting=figures.waiting_slot + figures.waiting_engine,
                tasks=startable(state, scaled.pool),
                trees=figures.trees,
                open_runs=sum(name in run.spec.models and goes_on(run) for run in state.runs.values()),
                slots=figures.slots,
                replicas=figures.replicas,
                kv_usage=figures.kv_usage_mean,
                cap=cap(*found) if found is not None else None,
            )
        )
        if decision.desired != size:
            scaled.wake.set()

    async def follow(self, pool: str) -> None:
        """Tell a pool's fleet what was decided, until cancelled."""
        scaled = self._scaled[pool]
        while True:
            await scaled.wake.wait()
            if (decision := scaled.decision) is not None and decision.desired != decision.size:
                await self._tell(scaled, decision)
            scaled.wake.clear()  # what was decided meanwhile may be done by now: the next look says

    async def _tell(self, scaled: _Scaled, decision: Decision) -> None:
        name, drain_s = scaled.pool.name, scaled.law.terms.drain_s
        log.info(
            "pool '%s' is to have %d replica%s, not %d (%s)",
            name, decision.desired, "" if decision.desired == 1 else "s", decision.size, decision.because(),
        )  # fmt: skip
        try:
            await self._elastic.scale(api.ScalePoolRequest(pool=name, replicas=decision.desired, within_s=drain_s))
        except TreerollError as error:
            scaled.told[REFUSED] += 1
            log.warning("pool '%s' does not have the replicas that its demand asks for: %s", name, error)
            await asyncio.sleep(REST_S)
        else:
            scaled.told[decision.rule.value] += 1
