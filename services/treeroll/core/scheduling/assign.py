"""Work for free slots: waiting forks deepest first, then new trees, then what other replicas cannot get to."""

from treeroll.core.budget.accounts import claims
from treeroll.core.budget.blocked import block, next_doomed, refusal, release_throttled, short_account
from treeroll.core.growth.lifecycle import cut_branch, end_broken, settle_tree
from treeroll.core.growth.start_order import grant_name, start_effect
from treeroll.core.growth.timeouts import end_waits
from treeroll.core.model.branch import Branch, BranchEvent, BranchState
from treeroll.core.model.effects import Effect, Told
from treeroll.core.model.fleet import Replica
from treeroll.core.model.ledger import Ledger
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.pool import Pool
from treeroll.core.model.run import RunState
from treeroll.core.model.state import State
from treeroll.core.model.token_bucket import Bucket
from treeroll.core.scheduling.admit import admit_tree
from treeroll.core.scheduling.consumers import note_idle
from treeroll.core.scheduling.publication import go_on_waiting
from treeroll.core.scheduling.queues import pop_for, queue_wanted, requeue
from treeroll.core.scheduling.runs import end_stopped
from treeroll.core.scheduling.settle import settle, to_store
from treeroll.core.scheduling.standing import end_rests, take_signs
from treeroll.tree.node import Origin, shared_origin
from treeroll.why import MASKED, because

# Effects of endings in one call.
END_LIMIT = 2000


def assign(state: State) -> list[Effect]:
    """Fill free slots, and end what was cancelled or what no budget will ever start.

    Ends come in slices of about END_LIMIT effects, so that no commit grows with the number of tasks: call again while
    `unfinished`.
    """
    effects = end_stopped(state, END_LIMIT)
    if state.rests:
        effects += end_rests(state)
    if state.signs:
        effects += take_signs(state)
    if state.timeouts:
        effects += end_waits(state)
    if state.idles:
        note_idle(state)
    if state.throttled:
        release_throttled(state)
    if state.updates_wait:
        effects += go_on_waiting(state)
    effects += _fill(state)
    while state.doomed and len(effects) < END_LIMIT:
        while state.doomed and len(effects) < END_LIMIT:
            effects += _cut_for_budget(state)
        effects += _fill(state)
    if state.told:
        effects += state.take_told()
    if state.learnt or state.memories or state.failed:
        effects += to_store(state)
    return effects


def unfinished(state: State) -> bool:
    """Whether `assign` has more to end than it did, or more tasks to send to their pools."""
    if state.sent or any(run.state is RunState.CANCELLED and run.waiting for run in state.runs.values()):
        return True
    return bool(state.doomed)


def _fill(state: State) -> list[Effect]:
    """Every pool by itself; again if one of them has sent tasks to another, as often as there are pools."""
    effects: list[Effect] = []
    for _ in state.pools:
        state.sent = False
        for pool in state.pools.values():
            _fill_pool(state, pool, effects)
        if not state.sent:
            break
    return effects


def _fill_pool(state: State, pool: Pool, effects: list[Effect]) -> None:
    """Waiting forks first, each where its prefix is; then what anyone may take, each time to the most room."""
    while True:
        if state.broken:
            effects += end_broken(state)
        if state.ended or state.refunded:
            settle(state)
        if state.told:
            effects += state.take_told()
        if state.wanted:
            queue_wanted(state)
        _serve_queues(state, pool, effects)
        if pool.suspects and _serve_suspects(state, pool, effects):
            continue
        if (pool.quarantine.cells or pool.quarantine.ward) and _serve_ward(state, pool, effects):
            continue
        replica = pool.free_slots.freest(pool.replicas)
        if replica is None:
            return
        work = pool.anywhere.pop()
        if work is None and admit_tree(state, pool, replica, effects):
            continue  # its first branches are queued now
        work = work or _steal(state, pool, replica)
        if work is None:
            return
        effects += _grant_or_mask(state, replica, *work)


def _serve_queues(state: State, pool: Pool, effects: list[Effect]) -> None:
    """Every replica takes from its own queue as far as it has room."""
    while pool.served_next:
        name, _ = pool.served_next.popitem()
        replica = pool.replicas.get(name)
        if replica is None:
            continue
        while replica.free > 0 and (work := replica.queue.pop()) is not None:
            effects += _grant_or_mask(state, replica, *work)
        if len(replica.queue):
            pool.long_queues.add(replica)


def _serve_suspects(state: State, pool: Pool, effects: list[Effect]) -> bool:
    """A branch for each suspect that has none. Returns whether a tree was planted for one, where nobody else is ready.

    Its own queue is empty: it gets what others cannot get to.
    """
    for suspect in pool.suspects.values():
        if suspect.grants:
            continue
        work = pop_for(state, pool.anywhere, suspect)
        if work is None and (victim := pool.long_queues.longest(pool.replicas)) is not None:
            work = pop_for(state, victim.queue, suspect)
        if work is not None:
            effects += _grant_or_mask(state, suspect, *work)
        elif not pool.replicas and admit_tree(state, pool, suspect, effects):
            return True
    return False


def _serve_ward(state: State, pool: Pool, effects: list[Effect]) -> bool:
    """Let the first cell of suspects grow where nothing else does. Returns whether the pool's replicas are others now.

    The replica that has least to do becomes the ward, and is one like the others again when no cell is left.
    """
    quarantine = pool.quarantine
    ward = quarantine.ward
    if not quarantine.cells:
        if ward is not None:
            quarantine.ward = None
            pool.add(ward)
        return True
    if ward is None:
        ward = min(pool.replicas.values(), key=lambda r: (len(r.grants), r.replica_id), default=None)
        if ward is None:
            return False
        pool.remove(ward)
        quarantine.ward, ward.in_long_queues = ward, False
        requeue(state, ward.queue)
        return True
    if ward.lags:
        return False
    if not ward.grants:
        quarantine.next_cell()
    cell = quarantine.cells[0]
    if all(state.grants[grant][0].tree_id in cell.trees for grant in ward.grants):
        while ward.free > 0 and (work := cell.queue.pop()) is not None:
            effects += _grant_or_mask(state, ward, *work)
    return False


def _steal(state: State, pool: Pool, thief: Replica) -> tuple[LiveTree, Branch] | None:
    """Take from the longest queue, if its replica has so much more to do that recomputing a prefix beats waiting."""
    margin = state.settings.placement.steal_margin
    if margin is None:
        return None
    while (victim := pool.long_queues.longest(pool.replicas)) is not None:
        if victim.load - thief.load <= margin * thief.slots:
            return None
        if (work := pop_for(state, victim.queue, thief)) is not None:
            return work
        if len(victim.queue):
            return None
    return None


def _grant_or_mask(state: State, replica: Replica, live: LiveTree, branch: Branch) -> list[Effect]:
    """Grant the branch to the replica, or set it aside while an account has no room for it."""
    need = branch.need
    if live.run.capped:
        if state.orphans is not None and state.orphans.holds(live.run):
            state.orphans.held.append((live, branch))
            return []
        claimed = claims(live, branch)
        account = short_account(state, live, need, claimed)
        if account is not None:
            block(state, account, 1 if account in claimed else need, live, branch)
            branch.masked_by = account.key if isinstance(account, Ledger) else "tokens_per_second"
            return [_masked(live, branch, account, 1 if account in claimed else need)] if state.settings.tells else []
        for ledger in claimed:
            ledger.reserve(1)
        branch.claims = claimed
    reserve(live, branch)
    serve(state, replica, live, branch, state.next_grant)
    state.next_grant += 1
    return [start_effect(live, branch)]


def _masked(live: LiveTree, branch: Branch, account: Ledger | Bucket, need: int) -> Told:
    if isinstance(account, Ledger):
        room, cap = max(0, account.room or 0), account.cap or 0
    else:
        room, cap = account.room, account.burst
    why = because(f"{MASKED}{branch.masked_by}", need=need, room=room, cap=cap)
    return Told("masked", live, grant_name(live, branch), why, branch.masked_by)


def reserve(live: LiveTree, branch: Branch) -> None:
    """A branch is granted: what it may still sample is set aside."""
    need = branch.need
    for tokens in live.accounts:
        tokens.reserve(need)
    branch.reserved, branch.overrun = need, 0
    branch.apply(BranchEvent.GRANT)


def serve(state: State, replica: Replica, live: LiveTree, branch: Branch, grant: int) -> None:
    """The replica serves a branch under this grant."""
    branch.grant, branch.origin = grant, _origin(replica, live, branch)
    state.grants[grant] = (live, branch)
    live.served.setdefault((replica.replica_id, replica.incarnation), grant)
    branch.waited_s = 0.0 if branch.wanted_at is None else state.now - branch.wanted_at
    branch.wanted_at = None
    state.take_slot(replica, branch)


def _origin(replica: Replica, live: LiveTree, branch: Branch) -> Origin:
    return shared_origin(
        replica.replica_id,
        replica.incarnation,
        branch.failures + 1,
        branch.reason,
        branch.decision,
        branch.group,
        branch.temperature,
        branch.max_tokens,
        None if branch.model == live.task.model else branch.model,
    )


def _cut_for_budget(state: State) -> list[Effect]:
    """Cut the next of the branches that no refund will ever make room for."""
    ledger, (need, _, live, branch) = next_doomed(state)
    if branch.state is not BranchState.PENDING:
        return []
    why = refusal(ledger, need)
    if ledger.key not in ("tree_tokens", "task_tokens"):
        live.run.stopped_by("budget", why)
    rule = because(f"{MASKED}{ledger.key}", need=need, room=max(0, ledger.room or 0), cap=ledger.cap or 0)
    return [cut_branch(live, branch, "budget", why, rule), *settle_tree(state, live)]
