"""Replicas come, are heard, fall silent and go. A replica's lease on its branches lasts as long as it is heard."""

from treeroll.core.growth.lifecycle import end_tree, lose_grant, release_grant, settle_tree
from treeroll.core.growth.start_order import start_effect
from treeroll.core.model.branch import BranchEvent, BranchState
from treeroll.core.model.effects import DropReplica, Effect, ForgetTree, PersistEntry, ReplicaJudged, StopBranch
from treeroll.core.model.events import (
    EndKind,
    LossKind,
    ReplicaFaulted,
    ReplicaHeard,
    ReplicaJoined,
    ReplicaLost,
    WeightsReported,
)
from treeroll.core.model.fleet import Replica
from treeroll.core.model.health import Health, Sign
from treeroll.core.model.journal import Faulted, Lost, Reported
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.pool import names
from treeroll.core.model.state import State
from treeroll.core.model.weights import Weights
from treeroll.core.scheduling import drains, orphans, pool_models, publication
from treeroll.core.scheduling.queues import requeue
from treeroll.core.scheduling.standing import find_mute, take
from treeroll.errors import Fenced, InvalidInput, StaleEpoch


def join(state: State, event: ReplicaJoined, now: float) -> list[Effect]:
    """A replica said Hello: first time, after a restart (its old branches are lost), or after a reconnect."""
    name, known = event.replica_id, state.replicas.get(event.replica_id)
    if event.incarnation < state.incarnations.get(name, 0):
        newest = state.incarnations[name]
        raise Fenced(f"replica {name} incarnation {event.incarnation} is fenced: {newest} has been seen")
    anew = _check_alike(state, event)
    loaded = Weights(event.weight_version, "", event.weight_digest)
    if known is not None and known.incarnation == event.incarnation:
        known.heard_at = now
        effects = pool_models.take(state, state.pools[event.model], event, anew)
        effects += _reconcile(state, known, event) + publication.joined(state, known, loaded)
        return effects + drains.say_again(state, known, event.drain)
    if known is None and event.incarnation == state.incarnations.get(name):
        raise StaleEpoch(f"replica {name} incarnation {event.incarnation} lost its lease")
    effects = lose(state, ReplicaLost(name, known.incarnation, "it was restarted")) if known else []
    for effect in effects:
        if isinstance(effect, DropReplica):
            effect.superseded = True
    state.incarnations[name] = event.incarnation
    replica = Replica(
        name, event.incarnation, event.slots, event.block_size, event.max_model_len, heard_at=now, model=event.model
    )
    pool = state.pools[event.model]
    effects += pool_models.take(state, pool, event, anew)
    replica.health = state.health.setdefault(name, Health())
    replica.lags = loaded.version != pool.weights.current.version
    state.replicas[name] = replica
    pool.add(replica)
    effects += drains.say_again(state, replica, event.drain)
    return effects + _take_up(state, replica, event) + publication.joined(state, replica, loaded)


def _take_up(state: State, replica: Replica, event: ReplicaJoined) -> list[Effect]:
    """What it has of an earlier coordinator goes on if that is known here, and is nobody's any more otherwise."""
    name, incarnation = replica.replica_id, replica.incarnation
    found = orphans.return_of(state, replica, event)
    running = {branch.grant for _, branch in found if branch.state is BranchState.RUNNING}
    trees = {live.tree_id for live, _ in found}
    effects: list[Effect] = [StopBranch(name, incarnation, grant) for grant in sorted(event.live_grants - running)]
    effects += [ForgetTree(name, incarnation, tree_id) for tree_id in sorted(event.kept_trees - trees)]
    if state.orphans is not None and not state.orphans.awaited:
        effects += orphans.give_up(state)
    return effects


def _reconcile(state: State, replica: Replica, event: ReplicaJoined) -> list[Effect]:
    """After a reconnect: say again what a broken call swallowed, stop what the replica should not be doing."""
    live_grants, name, incarnation = event.live_grants, replica.replica_id, replica.incarnation
    effects: list[Effect] = [
        ForgetTree(name, incarnation, tree_id) for tree_id in sorted(event.kept_trees) if tree_id not in state.trees
    ]
    for grant in sorted(replica.grants - live_grants):
        live, branch = state.grants[grant]
        if branch.state is BranchState.STOPPING:  # its start was swallowed too: there is nothing to stop
            release_grant(state, live, branch, BranchEvent.END)
            effects.append(PersistEntry.of(live, Reported(branch.number, 0, EndKind.STOPPED)))
            effects += settle_tree(state, live)
        else:
            effects.append(start_effect(live, branch))
    for grant in sorted(live_grants):
        entry = state.grants.get(grant)
        if entry is None or entry[1].state is BranchState.STOPPING:
            effects.append(StopBranch(name, incarnation, grant))
    return effects


def _check_alike(state: State, event: ReplicaJoined) -> bool:
    """Boundaries are the same for all branches of a tree, and a tree may go on in another pool.

    So all replicas have one context, and those of a pool, where prefixes are shared, one model and one block size.
    Returns whether this one says anew what its pool is. InvalidInput if it cannot be.
    """
    name, pool = event.replica_id, state.pools.get(event.model)
    if pool is None:
        raise InvalidInput(f"replica {name} is of pool '{event.model}', but the service serves {names(state.pools)}")
    if min(event.slots, event.block_size, event.max_model_len) < 1:
        raise InvalidInput(f"replica {name} says it has no slots, no block size or no context")
    anew = pool_models.is_new(state, pool, event)
    for other in state.replicas.values():
        alike = other.model != event.model or other.block_size == event.block_size
        if not alike or other.max_model_len != event.max_model_len:
            raise InvalidInput(
                f"replica {name} has block size {event.block_size} and context {event.max_model_len}, "
                f"replica {other.replica_id} has {other.block_size} and {other.max_model_len}; they must be equal"
                f"{'' if other.model == event.model else ' in context'}"
            )
    begun = anew and pool.model is not None  # what was published for another model is none of this one's
    current = Weights() if begun else pool.weights.current
    publication.check_holds(pool.name, current, name, Weights(event.weight_version, "", event.weight_digest))
    known = state.replicas.get(name)
    if known is not None and known.incarnation == event.incarnation and known.model != event.model:
        raise InvalidInput(f"replica {name} incarnation {event.incarnation} was in pool '{known.model}' before")
    return anew


def heard(state: State, event: ReplicaHeard, now: float) -> None:
    """Renew the replica's lease."""
    replica = state.replicas.get(event.replica_id)
    if replica is None or replica.incarnation != event.incarnation:
        return
    replica.heard_at, replica.kv_usage = now, event.kv_usage
    if event.generated > replica.generated:
        replica.generated, replica.moved_at = event.generated, now


def lose(state: State, event: ReplicaLost) -> list[Effect]:
    """Take back everything the replica held. StaleFenced: an older incarnation's loss changes nothing.

    Of one that died it is not known why: a tree that grew there may be the cause.
    """
    replica = state.replicas.get(event.replica_id)
    if replica is None or replica.incarnation != event.incarnation:
        return []
    del state.replicas[event.replica_id]
    pool = state.pools[replica.model]
    if replica is not pool.quarantine.ward:
        pool.remove(replica)
    kind = _kind_of(replica, event)
    moves = replica.drain is not None and event.kind in (LossKind.LEFT, LossKind.DRAINED)
    pool.ends[kind] += 1
    effects: list[Effect] = [DropReplica(replica.replica_id, replica.incarnation, event.cause, kind)]
    lost = [state.grants[grant] for grant in sorted(replica.grants)]
    of_tree = kind is LossKind.DIED and not publication.excuses(replica)
    trees = list({live.tree_id: live for live, _ in lost}.values()) if of_tree else []
    others = any(member is not replica for member in pool.members)
    guilty = pool.quarantine.lost(replica, trees, others, state.settings.max_losses)
    if pool.quarantine.of:
        pool.quarantine.gather([pool.anywhere, *(member.queue for member in pool.members)])
    for live, branch in lost:
        lose_grant(state, live, branch, BranchEvent.MOVE if moves else BranchEvent.LOST)
        effects.append(PersistEntry.of(live, Lost(branch.number)))
        effects += settle_tree(state, live)
    if guilty is not None and guilty.tree_id in state.trees:
        losses = pool.quarantine.losses[guilty.tree_id]
        why = f"{losses} replicas were lost while it grew on them, the last alone: {event.cause}"
        effects += _condemn(state, guilty, why)
    requeue(state, replica.queue)
    return effects + publication.gone(state, pool)


def _kind_of(replica: Replica, event: ReplicaLost) -> LossKind:
    """How it counts that a replica went. Whatever ends one whose machine is taken away is not held against what grew
    on it; one that drains has ended as it was told when it says goodbye."""
    drain, kind = replica.drain, event.kind
    if drain is None or kind is LossKind.FAULTY:
        return kind
    if drain.preempted:
        return LossKind.PREEMPTED
    return LossKind.DRAINED if kind is LossKind.LEFT else kind


def take_weights(state: State, event: WeightsReported) -> list[Effect]:
    """A replica answers an order about weights. StaleFenced: an older incarnation's answer changes nothing."""
    replica = state.replicas.get(event.replica_id)
    if replica is None or replica.incarnation != event.incarnation:
        return []
    effects, why = publication.take(state, replica, event)
    return effects + lose(state, ReplicaLost(event.replica_id, event.incarnation, why)) if why else effects


def fault(state: State, event: ReplicaFaulted) -> list[Effect]:
    """A replica reported what cannot be: its branches go elsewhere, and it rests, in whatever life it comes back.

    A tree of which that is said again and again ends, as one that replicas die of.
    """
    name, replica = event.replica_id, state.replicas.get(event.replica_id)
    if replica is None or replica.incarnation != event.incarnation:
        return []
    live, _ = state.grants.get(event.grant, (None, None)) if event.grant in replica.grants else (None, None)
    effects = lose(state, ReplicaLost(name, event.incarnation, f"it is quarantined: {event.cause}", LossKind.FAULTY))
    take(state, replica.health, name, Sign.FAULT, event.cause)
    if live is not None and live.tree_id in state.trees:
        live.faults += 1
        effects.append(PersistEntry.of(live, Faulted()))
        if live.faults >= state.settings.max_losses:
            effects += _condemn(state, live, f"{live.faults} reports of it could not be taken, the last: {event.cause}")
    return [*effects, ReplicaJudged(name, replica.health.standing, event.cause)]


def _condemn(state: State, live: LiveTree, cause: str) -> list[Effect]:
    """Replicas die of this tree, or cannot say what they make of it: it ends."""
    task_id = live.task.task_id
    live.run.quarantined.append(task_id)
    return end_tree(state, live, "lost", f"task '{task_id}' is quarantined: {cause}")


def end_drains(state: State) -> list[Effect]:
    """Replicas that drain and are out of time: what they run is moved."""
    effects: list[Effect] = []
    for name, incarnation, cause in drains.overdue(state):
        effects += lose(state, ReplicaLost(name, incarnation, cause, LossKind.DRAINED))
    return effects


def expire(state: State, now: float, anew: bool) -> list[Effect]:
    """Lose the replicas that were silent for longer than their lease, or do not come to the weights in force.

    `anew`: the clocks of those that make no token begin now. What they were granted, they may not have been told.
    """
    if anew:
        for replica in state.replicas.values():
            replica.moved_at = now
    effects, losses = publication.overdue(state)
    effects += orphans.expire(state) + end_drains(state)
    for replica, cause in losses:
        effects += lose(state, ReplicaLost(replica.replica_id, replica.incarnation, cause))
    for replica in list(state.replicas.values()):
        silent_s = now - replica.heard_at
        if silent_s > state.settings.lease_s:
            cause = f"it was silent for {silent_s:.1f} s"
            effects += lose(state, ReplicaLost(replica.replica_id, replica.incarnation, cause))
    return effects + find_mute(state)
