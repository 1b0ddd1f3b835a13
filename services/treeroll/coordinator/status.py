"""What the service says of itself: its pools, its replicas, and how its tokenizer pads and ends sequences."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain

from treeroll import __version__, clock
from treeroll.access.identity import caller
from treeroll.autoscale.law import Decision
from treeroll.coordinator.fleet_plane import FleetPlane
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.coordinator.retention import Retention
from treeroll.core.model.fleet import QUARANTINED, Replica
from treeroll.core.model.health import Health
from treeroll.core.model.pool import Pool
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.tokenizer import Tokenizer


def replica_state(replica: Replica | None, draining: bool) -> str:
    """One word for how much work a replica gets."""
    if replica is None:
        return "lost"
    if replica.health.standing is QUARANTINED:
        return "quarantined"
    if replica.drain is not None:
        return "draining"
    if replica.lags:
        return "joining"
    if draining and replica.grants:
        return "draining"
    return replica.health.standing.value


def reason(replica: Replica) -> str:
    """Why it does not get its share of the work; "" if nothing speaks against it."""
    return f"it is to end: {replica.drain.cause}" if replica.drain is not None else replica.health.reason


def rest_s(health: Health) -> float:
    """Seconds until one that is quarantined is tried again; 0 for others."""
    return max(0.0, health.until - clock.monotonic()) if health.standing is QUARANTINED else 0.0


class Status:
    """Makes ServiceStatus messages. Changes nothing."""

    def __init__(
        self,
        coordinator: Coordinator,
        replicas: ReplicaPlane,
        tokenizer: Tokenizer,
        retention: Retention,
        restarts: Mapping[str, int],
        fleets: FleetPlane,
        decision: Callable[[str], Decision | None] = lambda pool: None,
    ) -> None:
        """`restarts`: how often each replica has been started again, by its name; `decision`: see `Autoscaler`."""
        self._decision = decision
        self._fleets = fleets
        self._coordinator = coordinator
        self._replicas = replicas
        self._tokenizer = tokenizer
        self._retention = retention
        self._restarts = restarts

    def message(self) -> api.ServiceStatus:
        """The service as it is now."""
        state, store, outage = self._coordinator.state, self._coordinator.store, self._coordinator.outage
        recovered, who = self._coordinator.recovered, caller()
        status = api.ServiceStatus(
            epoch=self._coordinator.epoch,
            version=__version__,
            tokenizer_hash=self._tokenizer.prompt_hash,
            tokenizer=self.tokenizer_facts(state.pools),
            replicas=[self._replica(name) for name in sorted(self._replicas.sessions)],
            run_ids=sorted([*state.runs, *self._coordinator.ended.unread]),
            durability=store.durability,
            store=store.address,
            violations=self._coordinator.violations,
            live_trees=len(state.trees),
            waiting_tasks=state.waiting_tasks,
            draining=state.draining,
            pools=[self._pool(pool) for pool in state.pools.values()],
            expired_trees=self._retention.expired_trees,
            deleted_runs=self._retention.deleted_runs,
            recovered_trees=recovered.trees,
            recovered_nodes=recovered.nodes,
            recovery_s=recovered.seconds,
            suspended_runs=recovered.suspended,
            damaged_trees=recovered.damaged,
            store_losses=recovered.lost.times,
            lost_runs={run_id: loss.told() for run_id, loss in recovered.lost.runs.items()},
            lost_tasks=recovered.lost.tasks,
            lost_trees=recovered.lost.trees,
            lost_tokens=recovered.lost.tokens,
            store_outage=outage.reason,
            store_outage_since=outage.since,
            store_used=self._coordinator.store_used,
            store_full=state.store_full,
            caller=who.name,
            role=who.role if who.name else "",
        )
        models = self._replicas.models
        if served := [pool.name for pool in status.pools if pool.name in models]:
            status.engine.CopyFrom(models[served[0]].engine)
        return status

    def tokenizer_facts(self, models: Iterable[str]) -> api.TokenizerFacts:
        """How sequences of these models, named by their pools, are padded and ended."""
        ends = (self._coordinator.orders.eos_token_ids.get(name, ()) for name in models)
        return api.TokenizerFacts(
            hash=self._tokenizer.hash,
            eos_token_ids=sorted(set(chain.from_iterable(ends))),
            pad_token_id=self._tokenizer.pad_token_id,
            max_model_len=self._tokenizer.max_model_len,
        )

    def _pool(self, pool: Pool) -> api.PoolStatus:
        replicas, model = pool.members, self._replicas.models.get(pool.name)
        unplaced, decision = self._fleets.not_scheduled(pool.name), self._decision(pool.name)
        queues = [
            pool.anywhere,
            *(replica.queue for replica in replicas),
            *(cell.queue for cell in pool.quarantine.cells),
        ]
        return api.PoolStatus(
            name=pool.name,
            engine=model.engine if model is not None else None,
            replicas=len(replicas),
            slots=sum(replica.slots for replica in replicas),
            branches=sum(len(replica.grants) for replica in replicas),
            waiting_branches=sum(map(len, queues)),
            live_trees=pool.trees,
            wanted=self._fleets.wanted(pool.name),
            not_scheduled=len(unplaced),
            not_scheduled_because=unplaced[0] if unplaced else "",
            draining=sum(replica.drain is not None for replica in replicas),
            desired=decision.desired if decision is not None else None,
            desired_because=decision.because() if decision is not None else "",
            stop_token_ids=self._coordinator.orders.eos_token_ids.get(pool.name, ()),
        )

    def _replica(self, name: str) -> api.ReplicaStatus:
        session = self._replicas.sessions[name]
        replica = self._coordinator.state.replicas.get(name)
        return api.ReplicaStatus(
            replica_id=name,
            incarnation=session.hello.incarnation,
            state=replica_state(replica, self._coordinator.state.draining),
            reason=reason(replica) if replica else session.lost,
            retry_s=rest_s(replica.health) if replica else 0.0,
            branches=len(replica.grants) if replica else 0,
            slots=session.hello.engine.slots,
            generated_tokens=session.reported_tokens,
            kv_usage=session.heartbeat.kv_usage,
            silent_s=clock.monotonic() - session.last_heard,
            restarts=self._restarts.get(name, 0),
            pool=session.hello.pool,
            origin=session.hello.origin,
        )
