"""Who waits where: queues per replica, and one for all of a pool."""

from treeroll.core.guard.calls import home
from treeroll.core.model.branch import Branch, BranchState
from treeroll.core.model.fleet import Replica
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.pool import Pool
from treeroll.core.model.state import State
from treeroll.core.model.work_queue import WorkQueue

PENDING = BranchState.PENDING


def queue_wanted(state: State) -> None:
    """Queue the branches that growth and budgets want to run, in the order in which they said so."""
    wanted, state.wanted = state.wanted, []
    for live, branch in wanted:
        if branch.state is PENDING:
            if branch.wanted_at is None:
                branch.wanted_at, branch.masked_by = state.now, ""
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
    if branch.refused:
        branch.home = _home_elsewhere(state, live, pool, branch, parent)
    else:
        known = parent if parent in pool.replicas else ""
        branch.home = home(state, live.run, pool, known, pool.ready)
    pool.placements += 1
    replica = pool.replicas.get(branch.home) if branch.home else None
    if replica is None:
        pool.anywhere.push(live, branch, _next_order(state, live))
    else:
        replica.queue.push(live, branch, _next_order(state, live))
        pool.served_next[replica.replica_id] = None


def _home_elsewhere(state: State, live: LiveTree, pool: Pool, branch: Branch, parent: str) -> str | None:
    """Where a branch goes that some have refused: not to these, or at least not to the last of them."""
    names = [name for name in pool.ready if name not in branch.refused]
    names = names or [name for name in pool.ready if name != branch.refused[-1]]
    if not names:
        return None
    chosen = home(state, live.run, pool, parent if parent in names else "", names)
    return chosen or min(names, key=lambda name: (pool.replicas[name].load, name))


def pop_for(state: State, queue: WorkQueue, replica: Replica) -> tuple[LiveTree, Branch] | None:
    """The next branch of a queue, unless this replica has refused it and others may not: it then waits on."""
    work = queue.pop()
    if work is None or replica.replica_id not in work[1].refused:
        return work
    if not state.pools[replica.model].has_others(work[1].refused):
        return work
    queue.push(*work, _next_order(state, work[0]))
    return None


def _next_order(state: State, live: LiveTree) -> int:
    """A unique number that sorts older trees first."""
    state.order += 1
    return (live.admitted << 32) + state.order
