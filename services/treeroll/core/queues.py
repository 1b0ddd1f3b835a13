"""Who waits where: queues per replica, one for all, and one per run whose budget is used up for now."""

from treeroll.core.branch import Branch, BranchState
from treeroll.core.live import LiveTree
from treeroll.core.state import State, WorkQueue


def enqueue(state: State, live: LiveTree, branch: Branch, parent_replica: str | None = None) -> None:
    """Put a pending branch in the queue of the replica that placement chooses."""
    parent = live.tree.nodes[branch.tip].replica_id if parent_replica is None else parent_replica
    if not parent:
        # Nothing generated its prefix yet: the tree's first branches stay together.
        parent = branch.home or live.home
    branch.home = state.settings.placement.home(parent, state.ready, state.turn)
    state.turn += 1
    queue_of(state, branch.home).push(live, branch, next_order(state, live))


def queue_of(state: State, home: str | None) -> WorkQueue:
    """The queue of a replica; the common one for None or a replica that is gone."""
    replica = state.replicas.get(home) if home else None
    return replica.queue if replica else state.anywhere


def next_order(state: State, live: LiveTree) -> int:
    """A unique number that sorts older trees first."""
    state.order += 1
    return (live.admitted << 32) + state.order


def unblock(state: State, run_id: str) -> None:
    """A reservation was returned: branches masked by the budget may try again."""
    for live, branch in state.blocked.pop(run_id, ()):
        if branch.state is BranchState.PENDING:
            enqueue(state, live, branch)


def requeue(state: State, queue: WorkQueue) -> None:
    """The replica that owned this queue is gone: choose again for each branch."""
    while (entry := queue.pop()) is not None:
        enqueue(state, *entry)
