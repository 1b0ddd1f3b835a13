"""Work for free slots: waiting forks deepest first, then new trees, then what other replicas cannot get to."""

from treeroll.core.branch import Branch, BranchEvent
from treeroll.core.effects import Effect
from treeroll.core.grow import cut_branch, expand, settle_tree
from treeroll.core.live import LiveTree
from treeroll.core.rng import hash64
from treeroll.core.run import Run, RunState, TaskSpec
from treeroll.core.runs import end_cancelled
from treeroll.core.start import start_effect
from treeroll.core.state import Replica, State
from treeroll.core.tree import Tree

# Effects of endings in one call.
END_LIMIT = 2000


def assign(state: State) -> list[Effect]:
    """Fill free slots, and end what was cancelled or what no budget will ever start.

    Ends come in slices of about END_LIMIT effects, so that no commit grows with the number of tasks: call again while
    `unfinished`.
    """
    effects = end_cancelled(state, END_LIMIT)
    effects += _fill(state)
    while state.blocked and len(effects) < END_LIMIT and (doomed := _unaffordable(state)):
        for live, branch in doomed:
            effects += _cut_for_budget(state, live, branch)
        effects += _fill(state)
    return effects


def unfinished(state: State) -> bool:
    """Whether `assign` has more to end than it did."""
    if any(run.state is RunState.CANCELLED and run.waiting for run in state.runs.values()):
        return True
    return any(not state.runs[run_id].ledger.outstanding for run_id in state.blocked)


def _fill(state: State) -> list[Effect]:
    """Replicas with the most room choose first, so load evens out."""
    effects: list[Effect] = []
    open_replicas = {name: replica for name, replica in state.replicas.items() if replica.free > 0}
    while open_replicas:
        replica = max(open_replicas.values(), key=lambda r: (r.free, r.replica_id))
        work = _next_work(state, replica)
        if work is None:
            del open_replicas[replica.replica_id]
            continue
        effects += _grant_or_mask(state, replica, *work)
        if replica.free <= 0:
            open_replicas.pop(replica.replica_id, None)
    return effects


def _next_work(state: State, replica: Replica) -> tuple[LiveTree, Branch] | None:
    while True:
        work = replica.queue.pop() or state.anywhere.pop()
        if work is not None:
            return work
        if not _admit_tree(state, replica):
            return _steal(state, replica)


def _steal(state: State, thief: Replica) -> tuple[LiveTree, Branch] | None:
    """Take from the longest queue of a full replica: recomputing a prefix here beats waiting there."""
    if not state.settings.placement.steals:
        return None
    full = [r for r in state.replicas.values() if r.free <= 0 and len(r.queue) and r is not thief]
    for victim in sorted(full, key=lambda r: (-len(r.queue), r.replica_id)):
        work = victim.queue.pop()
        if work is not None:
            return work
    return None


def _admit_tree(state: State, replica: Replica) -> bool:
    """Plant the next waiting task at this replica, if it has room for a new prefix."""
    if state.draining or replica.kv_usage > state.settings.kv_hold:
        return False
    limit = state.settings.live_trees or sum(r.slots for r in state.replicas.values())
    if len(state.trees) >= limit:
        return False
    run = _next_run(state)
    if run is None:
        return False
    plant(state, run, run.waiting.popleft(), replica)
    return True


def _next_run(state: State) -> Run | None:
    """Runs take turns: the one with fewest growing trees, among those with waiting tasks and budget to start them."""
    waiting = [run for run in state.runs.values() if _may_start(state, run)]
    return min(waiting, key=lambda run: (run.growing, run.spec.run_id), default=None)


def _may_start(state: State, run: Run) -> bool:
    return bool(run.waiting) and run.state is not RunState.CANCELLED and run.spec.run_id not in state.blocked


def plant(state: State, run: Run, task: TaskSpec, replica: Replica) -> LiveTree:
    """Start a tree. Its seed depends on run seed, task and epoch only."""
    seed = hash64(run.spec.seed, task.task_id, task.epoch)
    tree = Tree.planted(task.tree_id, seed, task.prompt_ids)
    longest = min(replica.max_model_len, tree.root.n_tokens + run.spec.max_tokens)
    boundaries = run.spec.segment.boundaries(tree.root.n_tokens, replica.block_size, longest)
    state.order += 1
    live = LiveTree(run, task, tree, run.spec.branch.grow(tree), boundaries, state.order, replica.replica_id)
    state.trees[tree.tree_id] = live
    run.growing += 1
    expand(state, live, live.growth.start(tree))
    return live


def _grant_or_mask(state: State, replica: Replica, live: LiveTree, branch: Branch) -> list[Effect]:
    """Grant the branch to the replica, or set it aside while its run's budget has no room for it."""
    run = live.run
    tip = live.tree.nodes[branch.tip]
    need = live.boundaries[-1] - tip.total
    if not run.ledger.fits(need, run.spec.budget_tokens):
        state.blocked.setdefault(run.spec.run_id, []).append((live, branch))
        return []
    for ledger in (live.ledger, run.ledger):
        ledger.reserve(need)
    branch.reserved = need
    branch.apply(BranchEvent.GRANT)
    branch.attempt = branch.failures + 1
    branch.grant, branch.replica_id, branch.incarnation = state.next_grant, replica.replica_id, replica.incarnation
    state.next_grant += 1
    state.grants[branch.grant] = (live, branch)
    replica.grants.add(branch.grant)
    return [start_effect(live, branch)]


def _unaffordable(state: State) -> list[tuple[LiveTree, Branch]]:
    """Blocked branches of runs that hold no reservation which could still be returned: they will never fit."""
    spent = [run_id for run_id in state.blocked if not state.runs[run_id].ledger.outstanding]
    return [entry for run_id in spent for entry in state.blocked.pop(run_id)]


def _cut_for_budget(state: State, live: LiveTree, branch: Branch) -> list[Effect]:
    spec, ledger = live.run.spec, live.run.ledger
    need = live.boundaries[-1] - live.tree.nodes[branch.tip].total
    left = (spec.budget_tokens or 0) - ledger.spent
    cut_branch(live, branch, "budget", _over_budget(left, need))
    return settle_tree(state, live)


def _over_budget(left: int, need: int) -> str:
    return (
        f"the run's budget has {left} tokens left and a branch may need {need}; raise budget_tokens or lower max_tokens"
    )
