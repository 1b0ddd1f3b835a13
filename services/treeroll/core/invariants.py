"""The named promises of the core as checks, run after every step in tests; `coordinator/audit.py` has the stores'."""

from collections.abc import Iterator

from treeroll.core.model.branch import BranchState
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.pool import Pool
from treeroll.core.model.run import Run
from treeroll.core.model.state import State
from treeroll.invariants import Finding, Invariant


def violations(state: State) -> list[Finding]:
    """Every broken promise found in the state; empty is health."""
    findings = [finding for live in state.trees.values() for finding in _of_tree(live)]
    findings += [finding for run in state.runs.values() for finding in _of_run(state, run)]
    findings += [finding for pool in state.pools.values() for finding in _of_pool(state, pool)]
    return findings + list(_of_grants(state))


def _of_tree(live: LiveTree) -> Iterator[Finding]:
    name = live.tree_id
    if not live.ledger.balanced():
        yield Invariant.TOKENS_CONSERVED, f"tree {name}: {live.ledger}"
    reserved = sum(branch.reserved for branch in live.branches.values())
    if reserved != live.ledger.outstanding:
        yield (
            Invariant.TOKENS_CONSERVED,
            f"tree {name}: branches hold {reserved}, outstanding is {live.ledger.outstanding}",
        )
    if live.ledger not in live.accounts or live.run.ledger not in live.accounts:
        yield Invariant.TOKENS_CONSERVED, f"tree {name}: its grants do not reserve for tree and run"
    awake = (BranchState.PENDING, BranchState.RUNNING, BranchState.STOPPING)
    active = sum(branch.state in awake for branch in live.branches.values())
    if active != live.active:
        yield Invariant.ONE_OUTCOME_PER_BRANCH, f"tree {name}: {active} branches are active, {live.active} are counted"
    if len(live.tree.leaves) > live.run.spec.growth_of(live.task).max_leaves:  # of as many as it was allotted
        yield Invariant.TREE_WELL_FORMED, f"tree {name}: {len(live.tree.leaves)} leaves exceed the policy's cap"
    for node in live.tree.nodes[1:]:
        parent = live.tree.nodes[node.parent]
        inside = node.token_start != parent.total
        whole = (node.parent, node.token_start - parent.token_start) in live.tree.splits if inside else True
        if node.parent >= node.number or node.depth != parent.depth + (not inside) or not whole:
            yield (
                Invariant.TREE_WELL_FORMED,
                f"tree {name}: node {node.number} does not continue its parent {node.parent}",
            )
    indices = [(node.parent, node.token_start, node.sibling_index) for node in live.tree.nodes[1:]]
    if len(set(indices)) != len(indices):
        yield Invariant.TREE_WELL_FORMED, f"tree {name}: two nodes share a sibling index"


def _of_run(state: State, run: Run) -> Iterator[Finding]:
    name, ledger = run.spec.run_id, run.ledger
    if not ledger.balanced():
        yield Invariant.TOKENS_CONSERVED, f"run {name}: {ledger}"
    trees = [live for live in state.trees.values() if live.run is run]
    outstanding = sum(live.ledger.outstanding for live in trees)
    if outstanding != ledger.outstanding:
        yield Invariant.TOKENS_CONSERVED, f"run {name}: trees hold {outstanding}, outstanding is {ledger.outstanding}"
    if run.bucket is not None and not run.bucket.allows(ledger.spent + outstanding - ledger.excess, state.now):
        yield Invariant.TOKENS_CONSERVED, f"run {name}: {ledger} has come faster than {run.bucket} allows"
    yield from _of_tasks(run, trees)
    yield from _of_counts(run, trees)
    counted = run.finished + run.failed + run.filtered.total()
    if run.fed != counted:
        yield Invariant.DELIVERED_ONCE_ACKED, f"run {name}: {run.fed} terminal events, {counted} are counted"
    held = [] if run.window is None else list(run.window.held.values())
    if run.pace is not None and run.pace.growing != sum(live.placed for live in (*trees, *held)):
        yield (
            Invariant.BOUNDED,
            f"run {name}: {run.pace.growing} places of growing trees are counted, not those that are taken",
        )
    if run.growing != len(trees):
        yield Invariant.DELIVERED_ONCE_ACKED, f"run {name}: {len(trees)} trees grow, {run.growing} are counted"
    if held and not (run.growing or run.waiting):
        yield Invariant.DELIVERED_ONCE_ACKED, f"run {name}: {len(held)} trees wait to leave, and nothing grows"
    ended = counted + len(held) + run.growing + len(run.waiting)
    if ended != len(run.tasks):
        yield Invariant.DELIVERED_ONCE_ACKED, f"run {name}: {len(run.tasks)} tasks, {ended} accounted for"


def _of_tasks(run: Run, trees: list[LiveTree]) -> Iterator[Finding]:
    """The accounts of tasks, which a run has only if its budget caps them."""
    for task_id, ledger in run.task_ledgers.items():
        outstanding = sum(live.ledger.outstanding for live in trees if live.task.task_id == task_id)
        if not ledger.balanced() or outstanding != ledger.outstanding:
            yield (
                Invariant.TOKENS_CONSERVED,
                f"run {run.spec.run_id} task {task_id}: trees hold {outstanding} of {ledger}",
            )
    spent = sum(ledger.spent for ledger in run.task_ledgers.values())
    if run.task_ledgers and spent != run.ledger.spent:
        yield Invariant.TOKENS_CONSERVED, f"run {run.spec.run_id}: tasks spent {spent}, the run {run.ledger.spent}"


def _of_counts(run: Run, trees: list[LiveTree]) -> Iterator[Finding]:
    for ledger in run.counts:
        claimed = sum(ledger in branch.claims for live in trees for branch in live.branches.values())
        if not ledger.balanced() or claimed != ledger.outstanding:
            yield Invariant.TOKENS_CONSERVED, f"run {run.spec.run_id}: branches claim {claimed} of {ledger}"
        if ledger.key == "leaves" and ledger.spent != run.counters.leaves:
            yield (
                Invariant.TOKENS_CONSERVED,
                f"run {run.spec.run_id}: {run.counters.leaves} leaves are counted, {ledger}",
            )


def _of_grants(state: State) -> Iterator[Finding]:
    held = {grant for replica in state.replicas.values() for grant in replica.grants}
    if state.orphans is not None:
        held |= state.orphans.ran
    if held != set(state.grants):
        yield (
            Invariant.ONE_OUTCOME_PER_BRANCH,
            f"{len(held ^ set(state.grants))} grants are held by no replica or by none known",
        )
    for grant, (live, branch) in state.grants.items():
        if branch.grant != grant or branch.state not in (BranchState.RUNNING, BranchState.STOPPING):
            yield (
                Invariant.ONE_OUTCOME_PER_BRANCH,
                f"tree {live.tree_id}: grant {grant} is served by a branch in {branch.state}",
            )
    if state.wanted or state.refunded or state.ended or state.broken or state.learnt or state.memories or state.failed:
        yield Invariant.ONE_OUTCOME_PER_BRANCH, "growth has left something to do that nobody took up"
    if state.blocked and not state.grants:
        yield Invariant.ONE_OUTCOME_PER_BRANCH, "branches wait for what others may return, and no other runs"


def _of_pool(state: State, pool: Pool) -> Iterator[Finding]:
    slots, replicas = pool.free_slots, [r for r in state.replicas.values() if r.model == pool.name]
    if {r.replica_id for r in replicas} != {r.replica_id for r in pool.members} or sorted(pool.replicas) != pool.ready:
        yield Invariant.BOUNDED, f"pool '{pool.name}' lists {pool.ready}, its replicas are others"
    replicas = list(pool.replicas.values())
    if (slots.free, slots.slots) != (sum(r.free for r in replicas), sum(r.slots for r in replicas)):
        yield Invariant.BOUNDED, f"{slots.free} free of {slots.slots} slots are counted, the replicas say otherwise"
    trees = sum(live.task.model == pool.name for live in state.trees.values())
    if trees != pool.trees:
        yield Invariant.BOUNDED, f"pool '{pool.name}' has {trees} trees, {pool.trees} are counted"
    for replica in pool.members:
        loaded, current = replica.weights.loaded.version, pool.weights.current.version
        if replica.lags is (loaded == current) or (replica.replica_id in pool.resting and len(replica.queue)):
            detail = f"replica {replica.replica_id} has weights {loaded}, {current} are in force"
            yield Invariant.STALENESS_BOUND, detail
        if replica.drain is not None and (replica.replica_id not in pool.resting or replica is pool.quarantine.ward):
            yield Invariant.BOUNDED, f"replica {replica.replica_id} drains, and may get work"
    for replica in replicas:
        waiting = any(entry[-1].state is BranchState.PENDING for entry in replica.queue.heap)
        if waiting and replica.free > 0 and replica.replica_id not in pool.served_next:
            yield Invariant.BOUNDED, f"replica {replica.replica_id} has free slots, yet branches wait for it"
        if replica.free < 0:
            yield (
                Invariant.BOUNDED,
                f"replica {replica.replica_id} has {len(replica.grants)} branches on {replica.slots} slots",
            )
        strangers = [grant for grant in replica.grants if state.grants[grant][1].model != pool.name]
        strangers += [entry[-1].number for entry in replica.queue.heap if entry[-1].model != pool.name]
        if strangers:
            yield (
                Invariant.TREE_WELL_FORMED,
                f"replica {replica.replica_id} of pool '{pool.name}' has branches of other pools",
            )
    yield from _of_quarantine(state, pool)
    if any(entry[-1].model != pool.name for entry in pool.anywhere.heap):
        yield Invariant.TREE_WELL_FORMED, f"branches of other pools wait in pool '{pool.name}'"


def _of_quarantine(state: State, pool: Pool) -> Iterator[Finding]:
    quarantine = pool.quarantine
    known = {tree_id: cell for cell in quarantine.cells for tree_id in cell.trees}
    if (
        known != quarantine.of
        or not known.keys() <= state.trees.keys()
        or not quarantine.losses.keys() <= state.trees.keys()
    ):
        yield Invariant.BOUNDED, f"pool '{pool.name}' keeps suspects that grow no more, or not in one cell each"
    queues = [pool.anywhere, *(replica.queue for replica in pool.members)]
    if any(entry[-2].tree_id in known for queue in queues for entry in queue.heap):
        yield Invariant.BOUNDED, f"branches of suspects wait in pool '{pool.name}' with all others"
    if (ward := quarantine.ward) is None:
        if known and pool.replicas:
            yield Invariant.BOUNDED, f"suspects wait in pool '{pool.name}', and no replica is kept for them"
        return
    if ward.replica_id in pool.replicas or len(ward.queue) or not known:
        yield Invariant.BOUNDED, f"replica {ward.replica_id} is a ward and takes others, or has no suspects to wait for"
