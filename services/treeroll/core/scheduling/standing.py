"""How far replicas are trusted: signs that growth has left are taken up, mute replicas found, and rests end."""

import heapq

from treeroll.core.growth.lifecycle import lose_grant, settle_tree
from treeroll.core.model.effects import Effect, PersistEntry, ReplicaJudged, StopBranch
from treeroll.core.model.fleet import QUARANTINED, SUSPECT, Replica
from treeroll.core.model.health import HEALTH_TABLE, Health, Sign, Standing
from treeroll.core.model.journal import Lost
from treeroll.core.model.pool import Pool
from treeroll.core.model.state import State
from treeroll.core.scheduling.queues import requeue

READY = Standing.READY


def take_signs(state: State) -> list[Effect]:
    """Judge replicas by what became of their branches."""
    effects: list[Effect] = []
    signs, state.signs = state.signs, []
    for replica, sign, reason in signs:
        if state.replicas.get(replica.replica_id) is replica:
            effects += judge(state, replica, sign, reason)
    return effects


def judge(state: State, replica: Replica, sign: Sign, reason: str) -> list[Effect]:
    """A sign for or against a replica that is here. The last one of its pool that works is never sent to rest for
    doubts: without others nobody can tell whether its tasks are to blame."""
    pool, health = state.pools[replica.model], replica.health
    if (health.standing, sign) not in HEALTH_TABLE:
        return []
    if sign is Sign.DOUBT and health.standing is SUSPECT and not _others(pool, replica):
        return []
    with pool.changing(replica):
        take(state, health, replica.replica_id, sign, reason)
    requeue(state, replica.queue)
    return [ReplicaJudged(replica.replica_id, health.standing, health.reason)]


def take(state: State, health: Health, name: str, sign: Sign, reason: str = "") -> None:
    """The same, whether the replica is here or not."""
    health.take(sign, reason, state.now)
    if health.standing is QUARANTINED:
        heapq.heappush(state.rests, (health.until, name))


def end_rests(state: State) -> list[Effect]:
    """Replicas whose rest is over are tried again."""
    effects: list[Effect] = []
    while state.rests and state.rests[0][0] <= state.now:
        _, name = heapq.heappop(state.rests)
        health, replica = state.health[name], state.replicas.get(name)
        if health.standing is not QUARANTINED or health.until > state.now:
            continue
        if replica is None:
            take(state, health, name, Sign.RESTED)
        else:
            effects += judge(state, replica, Sign.RESTED, "")
    return effects


def find_mute(state: State) -> list[Effect]:
    """Replicas that have branches and make no token are suspect. Their branches go elsewhere, if others are there."""
    effects: list[Effect] = []
    for replica in list(state.replicas.values()):
        waited_s = state.now - replica.moved_at
        if not replica.grants or replica.lags or waited_s <= state.settings.mute_s:
            continue
        replica.moved_at = state.now
        others = _others(state.pools[replica.model], replica)
        reason = f"it made no token of {len(replica.grants)} branches in {waited_s:.0f} s"
        effects += judge(state, replica, Sign.DOUBT, reason)
        if others:
            effects += _take_back(state, replica)
    return effects


def _take_back(state: State, replica: Replica) -> list[Effect]:
    effects: list[Effect] = []
    for live, branch in [state.grants[grant] for grant in sorted(replica.grants)]:
        effects.append(StopBranch(replica.replica_id, replica.incarnation, branch.grant))
        branch.refuse(replica.replica_id)
        lose_grant(state, live, branch)
        effects.append(PersistEntry.of(live, Lost(branch.number, replica.replica_id)))
        effects += settle_tree(state, live)
    return effects


def _others(pool: Pool, replica: Replica) -> bool:
    """Whether another replica of the pool is ready, or will be when it has loaded the weights in force."""
    ward = pool.quarantine.ward
    return any(
        one.health.standing is READY and one.drain is None
        for one in pool.members
        if one is not replica and one is not ward
    )
