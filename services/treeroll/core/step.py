"""`step`: one event in, effects out. The only entry to the core for shells, simulators and tests."""

from treeroll.core.growth.lifecycle import judge_path, report_segment, score_leaf
from treeroll.core.model.effects import Effect
from treeroll.core.model.events import (
    AlarmRang,
    Drained,
    Event,
    GroupHeard,
    LeafScored,
    PathJudged,
    ReplicaDraining,
    ReplicaFaulted,
    ReplicaHeard,
    ReplicaJoined,
    ReplicaLost,
    RunCancelled,
    RunClosed,
    RunCreated,
    RunDeleted,
    SegmentReported,
    StoreFilled,
    TasksSubmitted,
    Ticked,
    TreesAsked,
    TreesWithheld,
    Undrained,
    WeightsPublished,
    WeightsReported,
)
from treeroll.core.model.state import State
from treeroll.core.scheduling import consumers, drains, publication, replicas, runs
from treeroll.core.scheduling.assign import assign
from treeroll.errors import BrokenInvariant


def step(state: State, event: Event, now: float) -> list[Effect]:
    """Apply one event and fill free slots.

    Deterministic: equal state, event and `now` (seconds) give equal effects. Raises a CallerError, before anything
    changed, for an event that asks for what cannot be; BrokenInvariant if a promise would break.
    """
    return apply(state, event, now) + assign(state)


def apply(state: State, event: Event, now: float) -> list[Effect]:  # noqa: C901  # one case an event
    """Apply one event without granting new work, so that a shell can take many events and call `assign` once."""
    if now > state.now:
        state.now = now
    match event:
        case SegmentReported():
            replica = state.replicas.get(event.replica_id)
            if replica is not None and replica.incarnation == event.incarnation:
                replica.heard_at = now
                if event.n_tokens:
                    replica.moved_at = now
            try:
                return report_segment(state, event)
            except BrokenInvariant as error:
                error.grant = event.grant
                raise
        case LeafScored():
            return score_leaf(state, event)
        case PathJudged():
            return judge_path(state, event)
        case ReplicaHeard():
            replicas.heard(state, event, now)
            return []
        case ReplicaJoined():
            return replicas.join(state, event, now)
        case ReplicaLost():
            return replicas.lose(state, event)
        case ReplicaDraining():
            return drains.drain(state, event)
        case ReplicaFaulted():
            return replicas.fault(state, event)
        case WeightsPublished():
            return publication.publish(state, event)
        case WeightsReported():
            return replicas.take_weights(state, event)
        case Ticked():
            return replicas.expire(state, now, event.anew)
        case RunCreated():
            return runs.create(state, event.spec, now, event.wall)
        case TasksSubmitted():
            return runs.submit(state, event.run_id, event.tasks)
        case RunClosed():
            return runs.close(state, event.run_id)
        case RunCancelled():
            return runs.cancel(state, event.run_id)
        case RunDeleted():
            return runs.delete(state, event.run_id)
        case GroupHeard():
            consumers.heard(state, event)
            return []
        case TreesAsked():
            return consumers.ask(state, event)
        case TreesWithheld():
            consumers.note_withheld(state, event)
            return []
        case AlarmRang():
            return replicas.end_drains(state)
        case Drained():
            state.draining = True
            return []
        case Undrained():
            state.draining = False
            return []
        case StoreFilled():
            state.store_full = event.full
            return []


def alarm(state: State) -> float | None:
    """When the core must be called although nothing happens: time brings budget, ends it, and ends waits.

    On the clock of `now`; None if all waits for events. Ask after `assign`.
    """
    times = [bucket.ready_at(waiting[0][0]) for bucket, waiting in state.throttled.items()]
    if state.rests:
        times.append(state.rests[0][0])
    if state.drains:
        times.append(state.drains[0][0])
    if state.ends:
        times.append(state.ends[0][0])
    if state.timeouts:
        times.append(state.timeouts[0][0])
    if state.idles:
        times.append(state.idles[0][0])
    return min(times, default=None)
