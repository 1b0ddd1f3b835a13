"""Replicas that are to end: they get no more work, and have some time to end what they run."""

import heapq
from dataclasses import replace

from treeroll.core.model.effects import DrainReplica, Effect
from treeroll.core.model.events import ReplicaDraining
from treeroll.core.model.fleet import Drain, Replica
from treeroll.core.model.state import State
from treeroll.core.scheduling import publication
from treeroll.core.scheduling.queues import requeue

# Deadlines that are nearer to each other than this, seconds, are one: it is said again and again.
SAME_S = 1.0


def drain(state: State, event: ReplicaDraining) -> list[Effect]:
    """A replica is to end. StaleFenced: an older incarnation's end changes nothing."""
    replica = state.replicas.get(event.replica_id)
    if replica is None or replica.incarnation != event.incarnation:
        return []
    return _drain(state, replica, event.drain)


def say_again(state: State, replica: Replica, told: Drain | None) -> list[Effect]:
    """A replica said Hello, and what it has been told by whom: also by a call that broke, which it may not know."""
    effects = _drain(state, replica, told) if told is not None else []
    if replica.drain is not None and not effects:
        effects.append(_order(replica, replica.drain))
    return effects


def overdue(state: State) -> list[tuple[str, int, str]]:
    """Name and incarnation of the replicas whose deadline has passed, and why they go."""
    found = []
    while state.drains and state.drains[0][0] <= state.now:
        deadline, name, incarnation = heapq.heappop(state.drains)
        replica = state.replicas.get(name)
        if replica is None or replica.incarnation != incarnation or replica.drain is None:
            continue
        if replica.drain.deadline == deadline:  # or it was put forward
            moved = f" with {len(replica.grants)} branches that had not ended" if replica.grants else ""
            found.append((name, incarnation, f"it was drained ({replica.drain.cause}){moved}"))
    return found


def _drain(state: State, replica: Replica, told: Drain) -> list[Effect]:
    known = replica.drain
    if known is not None:
        told = replace(told, preempted=told.preempted or known.preempted)
        if told.deadline > known.deadline - SAME_S:
            replica.drain = replace(known, preempted=told.preempted)
            return []
    pool = state.pools[replica.model]
    if replica is pool.quarantine.ward:  # another one becomes it
        replica.drain, pool.quarantine.ward = told, None
        pool.add(replica)
    else:
        with pool.changing(replica):
            replica.drain = told
    heapq.heappush(state.drains, (told.deadline, replica.replica_id, replica.incarnation))
    requeue(state, replica.queue)
    return [_order(replica, told), *publication.gone(state, pool)]


def _order(replica: Replica, told: Drain) -> Effect:
    return DrainReplica(replica.replica_id, replica.incarnation, told)
