"""Who waits where: queues per replica, and one for all of a pool."""

from treeroll.core.branch import Branch
from treeroll.core.fleet import Replica
from treeroll.core.live import LiveTree
from treeroll.core.state import State
from treeroll.core.work import WorkQueue


def enqueue(state: State, live: LiveTree, branch: Branch) -> None:
    """Put a pending branch in the queue of the replica that placement chooses, in the branch's pool."""
    pool = state.pools[branch.model]
    # Where nothing generated its prefix yet, the tree's first branches stay together.
    parent = live.tree.nodes[branch.tip].replica_id or branch.home or live.home
    branch.home = state.settings.placement.home(parent if parent in pool.replicas else "", pool.ready, pool.turn)
    pool.turn += 1
    replica = pool.replicas.get(branch.home) if branch.home else None
    if replica is None:
        pool.anywhere.push(live, branch, next_order(state, live))
    else:
        replica.queue.push(live, branch, next_order(state, live))
        pool.served_next[replica.replica_id] = None


def next_order(state: State, live: LiveTree) -> int:
    """A unique number that sorts older trees first."""
    state.order += 1
    return (live.admitted << 32) + state.order


def take_slot(state: State, replica: Replica, branch: Branch) -> None:
    """The branch runs on the replica from now on."""
    replica.grants.add(branch.grant)
    state.pools[branch.model].room.changed(replica, -1)


def free_slot(state: State, branch: Branch) -> None:
    """The branch runs on its replica no more."""
    replica = state.replicas.get(branch.origin.replica_id)
    if replica is None or branch.grant not in replica.grants:
        return
    replica.grants.remove(branch.grant)
    pool = state.pools[branch.model]
    pool.room.changed(replica, 1)
    if len(replica.queue):
        pool.served_next[replica.replica_id] = None


def requeue(state: State, queue: WorkQueue) -> None:
    """The replica that owned this queue is gone: choose again for each branch."""
    while (entry := queue.pop()) is not None:
        enqueue(state, *entry)
