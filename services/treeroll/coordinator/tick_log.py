"""TickLog: what each tick decided of trees, and what happened to the fleet and the runs, as entries of its commit.

They are durable with what they tell of, and in order. Nothing here is asked again, so nothing depends on it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from treeroll import clock
from treeroll.core.model.effects import (
    DropReplica,
    PersistEntry,
    PersistNode,
    PersistTree,
    ReplicaJudged,
    StartBranch,
    Told,
)
from treeroll.core.model.events import (
    Drained,
    ReplicaJoined,
    RunCancelled,
    RunClosed,
    RunCreated,
    RunDeleted,
    StoreFilled,
    TasksSubmitted,
    Undrained,
    WeightsPublished,
)
from treeroll.core.model.journal import Cut, Ended, Lost, Planted
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.run import Run
from treeroll.records.events import Event, Tick, encode
from treeroll.store.base import Commit
from treeroll.tree.node import INNER
from treeroll.tree.tree import Tree, path_name

MB = 1 << 20
_DIGITS = tuple(map(str, range(64)))


class TickLog:
    """Of one coordinator."""

    def __init__(self, epoch: int, kept_mb: int) -> None:
        """Keeps so many megabytes of decisions; none of them with 0. What happened is always kept."""
        self._epoch = epoch
        self._kept = kept_mb * MB
        self._said = _OF_TREES | _OF_FLEET if kept_mb else _OF_FLEET
        self._happened = [Event("took_over", count=epoch)]
        self._stopped: set[str] = set()

    def note(self, event: Event) -> None:
        """Something happened: it goes with the next commit."""
        self._happened.append(event)

    def heard(self, event: Any) -> None:
        """The core has taken an event."""
        happened = _HEARD.get(type(event))
        if happened is not None:
            self._happened.append(happened(event))

    def write(self, commit: Commit, effects: Sequence[Any], runs: dict[str, Run]) -> None:
        """Add the entries of a tick to its commit."""
        for run_id in commit.runs:
            if (run := runs.get(run_id)) is not None and run.stop_reason and run_id not in self._stopped:
                self._stopped.add(run_id)
                self._happened.append(Event("run_stopped", run_id, reason=run.stop_reason, detail=run.stop_detail))
        decided: dict[str, list[Event]] = {}
        for effect in effects:
            kind = type(effect)
            if kind is PersistNode and effect.node.status is INNER:  # of most there is nothing to say
                continue
            said = self._said.get(kind)
            if said is not None and (event := said(effect)) is not None:
                (self._happened if kind in _OF_FLEET else decided.setdefault(event.run, [])).append(event)
        if not (self._happened or decided):
            return
        at = clock.wall()
        if decided:
            commit.ticks = {run_id: encode(Tick(at, self._epoch, events)) for run_id, events in decided.items()}
            commit.ticks_kept = self._kept
        if self._happened:
            commit.happenings = encode(Tick(at, self._epoch, self._happened))
            self._happened = []


def _node(effect: PersistNode) -> Event:
    node, live = effect.node, effect.live
    return Event(
        "ended_path",
        live.run.spec.run_id,
        live.tree_id,
        _name(live.tree, node.number),
        reason=node.stop_reason.value,
        detail=node.status.value,
        why=effect.ended_by,
    )


def _name(tree: Tree, number: int) -> str:
    """The node's path, as `path_name` writes it: this is asked of every path that ends."""
    if tree.splits:
        return path_name(tree.path(number))
    nodes, steps = tree.nodes, []
    while number:
        node = nodes[number]
        index = node.sibling_index
        steps.append(_DIGITS[index] if index < len(_DIGITS) else str(index))
        number = node.parent
    steps.reverse()
    return ".".join(steps)


def _entry(effect: PersistEntry) -> Event | None:
    live = effect.live
    match effect.entry:
        case Planted(home=home, leaves=leaves, allotted_by=why):
            return _of(live, "started", replica=home, count=leaves, why=why)
        case Lost(branch):
            return _of(live, "lost", count=branch)
        case Cut(branch, reason, error):
            return _of(live, "cut", count=branch, reason=reason, detail=error)
        case Ended(reason, error, waiting):
            return _of(live, "stopped", count=len(waiting), reason=reason, detail=error)
        case _:
            return None


def _start(effect: StartBranch) -> Event:
    return Event(
        "granted",
        effect.run.spec.run_id,
        effect.tree_id,
        effect.branch,
        effect.replica_id,
        effect.attempt,
        effect.masked_by,
        seconds=effect.waited_s,
    )


def _tree(effect: PersistTree) -> Event:
    live = effect.live
    return _of(live, "ended", reason=str(live.status), count=len(live.tree.leaves), detail=live.error)


def _told(effect: Told) -> Event:
    return _of(effect.live, effect.what, path=effect.path, reason=str(effect.reason), why=effect.why)


def _of(live: LiveTree, kind: str, **rest: Any) -> Event:
    return Event(kind, live.run.spec.run_id, live.tree_id, **rest)


_OF_TREES: dict[type, Callable[[Any], Event | None]] = {
    PersistNode: _node,
    PersistEntry: _entry,
    StartBranch: _start,
    PersistTree: _tree,
    Told: _told,
}
_OF_FLEET: dict[type, Callable[[Any], Event | None]] = {
    DropReplica: lambda effect: Event("replica_lost", replica=effect.replica_id, reason=effect.cause),
    ReplicaJudged: lambda effect: Event(
        "replica_judged", replica=effect.replica_id, reason=str(effect.standing), detail=effect.reason
    ),
}
_HEARD: dict[type, Callable[[Any], Event]] = {
    ReplicaJoined: lambda event: Event("replica_joined", replica=event.replica_id, count=event.incarnation),
    WeightsPublished: lambda event: Event(
        "weights_published", count=event.version, reason=event.pool, detail=event.path
    ),
    RunCreated: lambda event: Event("run_created", event.spec.run_id),
    TasksSubmitted: lambda event: Event("tasks_submitted", event.run_id, count=len(event.tasks)),
    RunClosed: lambda event: Event("run_closed", event.run_id),
    RunCancelled: lambda event: Event("run_cancelled", event.run_id),
    RunDeleted: lambda event: Event("run_deleted", event.run_id),
    Drained: lambda event: Event("drained"),
    Undrained: lambda event: Event("undrained"),
    StoreFilled: lambda event: Event("store_filled", reason="full" if event.full else "room"),
}
