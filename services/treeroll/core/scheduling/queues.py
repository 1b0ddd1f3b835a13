"""Who waits where: queues per replica, and one for all of a pool."""

from treeroll.core.model.branch import Branch, BranchState
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.state import State
from treeroll.core.model.work_queue import WorkQueue

PENDING = BranchState.PENDING


def queue_wanted(state: State) -> None:
    """Queue the branches that growth and budgets want to run, in the order in which they said so."""
    wanted, state.wanted = state.wanted, []
    for live, branch in wanted:
        if branch.state is PENDING:
            _enqueue(state, live, branch)


def requeue(state: State, queue: WorkQueue) -> None:
    """The replica that owned this queue is gone: choose again for each branch."""
    while (entry := queue.pop()) is not None:
        state.wanted.append(entry)
    queue_wanted(state)


def _enqueue(state: State, live: LiveTree, branch: Branch) -> None:
    """Put a pending branch in the queue of the replica that placement chooses, in the branch's pool."""
    pool = state.pools[branch.model]
    if pool.quarantine.of and (cell := pool.quarantine.of.get(live.tree_id)) is not None:
        cell.queue.push(live, branch, _next_order(state, live))
        return
    # Where nothing generated its prefix yet, the tree's first branches stay together.
    parent = live.tree.nodes[branch.tip].replica_id or branch.home or live.home
    branch.home = state.settings.placement.home(parent if parent in pool.replicas else "", pool.ready, pool.placements)
    pool.placements += 1
    replica = pool.replicas.get(branch.home) if branch.home else None
    if replica is None:
        pool.anywhere.push(live, branch, _next_order(state, live))
    else:
        replica.queue.push(live, branch, _next_order(state, live))
        pool.served_next[replica.replica_id] = None


def _next_order(state: State, live: LiveTree) -> int:
    """A unique number that sorts older trees first."""
    state.order += 1
    return (live.admitted << 32) + state.order
