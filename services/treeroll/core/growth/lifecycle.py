"""One tree's life: segments become nodes, policies answer, branches end, and at last the tree does."""

from math import isfinite

from treeroll.core.growth.expand import resume
from treeroll.core.growth.leaving import finish
from treeroll.core.growth.segment import add_node, check_report, read_tokens
from treeroll.core.growth.timeouts import await_others, decide
from treeroll.core.guard import calls
from treeroll.core.model.branch import Branch, BranchEvent, BranchState
from treeroll.core.model.budget import STOP_LAG_TOKENS
from treeroll.core.model.effects import (
    Effect,
    JudgePath,
    PersistEntry,
    PersistNode,
    PersistReward,
    ScoreLeaf,
    StopBranch,
)
from treeroll.core.model.events import EndKind, LeafScored, PathJudged, SegmentReported
from treeroll.core.model.health import Sign
from treeroll.core.model.journal import Abstained, Asked, Cut, Ended, Judged, Reported
from treeroll.core.model.live_tree import LiveTree, PathEnd
from treeroll.core.model.state import State
from treeroll.errors import BrokenInvariant
from treeroll.invariants import Invariant
from treeroll.tree.node import INNER, LEAF, Node, Origin
from treeroll.why import REFUSED, Why, because

# Looked up for every segment, see node.LEAF.
STOPPING = BranchState.STOPPING


def report_segment(state: State, event: SegmentReported) -> list[Effect]:
    """Take one segment of a running branch, and its end if it has one."""
    entry = state.grants.get(event.grant)
    if entry is None or not _comes_from(event, entry[1].origin):
        state.fenced += 1
        return []
    live, branch = entry
    check_report(live, branch, event)
    effects = take_segment(state, live, branch, event)
    if live.active == 0 or live.grown:
        effects += settle_tree(state, live)
    return effects


def take_segment(state: State, live: LiveTree, branch: Branch, event: SegmentReported) -> list[Effect]:
    """All that a report changes, but for what follows if nothing of its tree runs any more."""
    tokens = read_tokens(state, live, event) if live.run.spec.reads_tokens else None
    if event.cached_tokens is not None:
        _account_prefix(live, branch, event.cached_tokens)
    _settle(live, branch, event)
    if branch.state is STOPPING:
        late = event.n_tokens + event.dropped_tokens
        live.late_tokens += late
        live.run.counters.late_tokens += late
        if event.end is not None:
            release_grant(state, live, branch, BranchEvent.END)
        return [_reported(live, branch, event)]
    effects: list[Effect] = []
    node = None
    if not event.n_tokens:
        effects.append(_reported(live, branch, event))
    else:
        why = None if branch.started else branch.why
        node, verdict = add_node(state, live, branch, event, tokens)
        ended_by = None if verdict is None else verdict.why
        effects.append(PersistNode(live, node, event, branch.waited_s, branch.masked_by, why, ended_by))
        if branch.claims:
            branch.spend_claims(node)
    if event.end is not None or (node is not None and node.status is not INNER):
        effects += _end_branch(state, live, branch, node, event)
    if node is not None:
        _grown_by(state, live, node, effects)
    return effects


def _reported(live: LiveTree, branch: Branch, event: SegmentReported) -> PersistEntry:
    """As a node would: what is acknowledged is in the run's record, and in what its tree is grown again from."""
    refused = branch.origin.replica_id if event.end is EndKind.ERROR else ""
    return PersistEntry.of(live, Reported(branch.number, event.n_tokens + event.dropped_tokens, event.end, refused))


def _comes_from(event: SegmentReported, origin: Origin) -> bool:
    return origin.replica_id == event.replica_id and origin.incarnation == event.incarnation


def _settle(live: LiveTree, branch: Branch, event: SegmentReported) -> None:
    """Account for what the engine generated; what it decoded beyond its reservation is declared overshoot."""
    tokens = event.n_tokens
    if event.dropped_tokens:
        tokens += event.dropped_tokens
        if branch.state is not STOPPING:
            live.dropped_tokens += event.dropped_tokens
            live.run.counters.dropped_tokens += event.dropped_tokens
    if tokens > branch.reserved:
        excess = tokens - branch.reserved
        for account in live.accounts:
            account.exceed(excess)
        branch.reserved += excess
        branch.overrun += excess
    for account in live.accounts:
        account.settle(tokens)
    branch.reserved -= tokens


def _account_prefix(live: LiveTree, branch: Branch, cached: int) -> None:
    """Count what the engine found of a request's prefix. Raises before anything has changed."""
    recomputed = branch.position - cached
    if recomputed < 0:
        detail = f"tree {live.tree_id}: {cached} tokens of a prefix of {branch.position} are said to be cached"
        raise BrokenInvariant(Invariant.TREE_WELL_FORMED, detail)
    counters = live.run.counters
    counters.cached_tokens += cached
    counters.recomputed_tokens += recomputed
    if branch.tip or branch.origin.attempt > 1:
        live.recomputed += recomputed
    # The root is left out: its prompt is rarely aligned, so copies there recompute up to a block.
    if branch.tip and not branch.started and branch.origin.attempt == 1:
        counters.fork_requests += 1
        counters.fork_recomputed_tokens += recomputed


def _end_branch(
    state: State, live: LiveTree, branch: Branch, node: Node | None, event: SegmentReported
) -> list[Effect]:
    """Move the branch along its table, by the verdict on its node and by what the replica says of its end."""
    ended_path = node is not None and node.status is not INNER
    if event.end is not EndKind.ERROR:
        _note_good(state, branch)
    if ended_path and event.end is None:
        branch.apply(BranchEvent.STOP)
        return [StopBranch(branch.origin.replica_id, branch.origin.incarnation, branch.grant)]
    if ended_path:
        release_grant(state, live, branch, BranchEvent.FINISH)
    elif event.end is EndKind.HOLD:
        release_grant(state, live, branch, BranchEvent.HOLD)
        live.held[branch.tip] = branch.number
    elif event.end is EndKind.ERROR:
        error = event.error or "the engine refused the request"
        live.run.counters.engine_errors += 1
        live.run.engine_error = error
        _note_error(state, live, branch, error)
        lose_grant(state, live, branch)
        if branch.state is BranchState.PENDING and _is_hopeless(state, branch):
            why = f"{branch.refusals} requests of a branch failed, the last because {error}"
            rule = because(REFUSED, refusals=branch.refusals, replicas=len(branch.refused))
            return [cut_branch(live, branch, "lost", why, rule)]
    elif event.end is not None:
        release_grant(state, live, branch, BranchEvent.CREDIT)
        state.wanted.append((live, branch))
    return []


def _note_good(state: State, branch: Branch) -> None:
    replica = state.replicas.get(branch.origin.replica_id)
    if replica is not None and replica.health.ended_well():
        state.signs.append((replica, Sign.PASSED, ""))


def _note_error(state: State, live: LiveTree, branch: Branch, error: str) -> None:
    branch.refusals += 1
    branch.refuse(branch.origin.replica_id)
    replica = state.replicas.get(branch.origin.replica_id)
    if replica is not None and replica.health.ended_badly(live.tree_id):
        trees = len(replica.health.failed)
        state.signs.append((replica, Sign.DOUBT, f"branches of {trees} trees failed on it, the last because {error}"))


def _is_hopeless(state: State, branch: Branch) -> bool:
    """Whether enough replicas have refused the branch, or all that there are, and often enough."""
    most = state.settings.max_attempts
    if len(branch.refused) >= most:
        return True
    return branch.refusals >= most and not state.pools[branch.model].has_others(branch.refused)


def _grown_by(state: State, live: LiveTree, node: Node, effects: list[Effect]) -> None:
    """Let scorer and policy see a new node."""
    if node.status is LEAF:
        live.run.counters.leaves += 1
        if live.run.spec.scores_here:
            effects.append(ScoreLeaf(live, node.number))
    if live.stop_reason:
        close_held(live)
    elif live.run.spec.judge is not None and node.number in live.held:
        live.judging += 1
        effects.append(JudgePath(live, node.number))
    else:
        _ask(state, live, node)


def _ask(state: State, live: LiveTree, node: Node) -> None:
    """Show the policy a new node, and do what it says."""
    expansions = calls.on_node(state, live, node)
    if expansions:
        decide(state, live, expansions)
    if live.held and node.number in live.held:
        if not live.run.spec.needs_hold:
            resume(state, live, node.number)
        elif not expansions and live.timeout_s is not None:
            await_others(state, live)


def release_grant(state: State, live: LiveTree, branch: Branch, event: BranchEvent) -> None:
    """The running grant is over: refund what it did not use, record its outcome, free its slot."""
    outcome = branch.apply(event)
    for account in live.accounts:
        account.refund(branch.reserved)
    branch.reserved = 0
    if branch.claims:
        for ledger in branch.claims:
            ledger.refund(1)
        branch.claims = ()
    del state.grants[branch.grant]
    state.free_slot(branch)
    state.pools[branch.model].outcomes[str(outcome)] += 1
    if branch.state in (BranchState.DONE, BranchState.HELD):
        live.active -= 1
    if branch.state is BranchState.DONE:
        del live.branches[branch.number]
    if state.blocked:
        state.refunded.append(live)


def lose_grant(state: State, live: LiveTree, branch: Branch, event: BranchEvent = BranchEvent.LOST) -> None:
    """Its replica is gone or the engine refused: bound what was lost, and grant again from the last durable node."""
    ahead = branch.boundaries[min(branch.depth + state.settings.run_ahead, len(branch.boundaries)) - 1]
    unreported = min(branch.reserved, ahead - branch.position + STOP_LAG_TOKENS)
    live.lost_tokens_max += unreported
    live.run.counters.lost_tokens_max += unreported
    branch.failures += 1
    release_grant(state, live, branch, event)
    if branch.state is not BranchState.DONE:
        live.run.counters.regrants += 1
        state.wanted.append((live, branch))


def cut_branch(live: LiveTree, branch: Branch, reason: str, error: str, why: Why | None = None) -> Effect:
    """End a branch that is not running. From here on the policy is not asked again: the tree is partial."""
    _cut(live, branch)
    live.stop_reason = live.stop_reason or reason
    live.error = live.error or error
    if why is not None:
        live.note_end(PathEnd(branch.tip, why))
    return PersistEntry.of(live, Cut(branch.number, reason, error, why))


def _cut(live: LiveTree, branch: Branch) -> None:
    if branch.state is BranchState.PENDING:
        live.active -= 1
    branch.apply(BranchEvent.CUT)
    del live.branches[branch.number]
    live.n_censored += 1


def close_held(live: LiveTree) -> None:
    """Nobody will resume these."""
    for number in list(live.held.values()):
        live.branches.pop(number).apply(BranchEvent.CUT)
        live.n_censored += 1
    live.held.clear()


def end_tree(state: State, live: LiveTree, reason: str, error: str) -> list[Effect]:
    """End every branch of a tree now."""
    return stop_branches(state, live, reason, error) + settle_tree(state, live)


def stop_branches(state: State, live: LiveTree, reason: str, error: str) -> list[Effect]:
    """The same, but for what follows if nothing of the tree runs any more.

    Where every path has ended, nothing is cut yet: the tree is whole unless its policy goes on, see `ask_idle`.
    """
    waiting = [branch for branch in live.branches.values() if branch.state is BranchState.PENDING]
    told = Ended(reason, error, tuple(branch.number for branch in waiting))
    effects: list[Effect] = [PersistEntry.of(live, told)]
    if not live.stop_reason and all(branch.state is STOPPING for branch in live.branches.values()):
        live.ending = reason, error
        return effects
    live.stop_reason, live.error = live.stop_reason or reason, live.error or error
    for branch in waiting:
        _cut(live, branch)
    for branch in live.branches.values():
        if branch.state is BranchState.RUNNING:
            branch.apply(BranchEvent.STOP)
            live.n_censored += 1
            effects.append(StopBranch(branch.origin.replica_id, branch.origin.incarnation, branch.grant))
    close_held(live)
    return effects


def end_broken(state: State) -> list[Effect]:
    """End the trees that a policy has failed: nobody knows how they should grow on."""
    effects: list[Effect] = []
    broken, state.broken = state.broken, []
    for live in broken:
        if live.tree_id in state.trees:
            effects += end_tree(state, live, "lost", live.error)
    return effects


def settle_tree(state: State, live: LiveTree) -> list[Effect]:
    """Ask for more when nothing runs; end the tree when nothing comes and every leaf is scored.

    A policy that reads rewards is asked once all leaves have theirs, so that the order of scoring cannot matter.
    """
    effects: list[Effect] = []
    if live.active == 0 and not live.grown:
        if live.judging and not live.stop_reason:
            return []
        if live.run.spec.reads_rewards and not live.scored and not live.stop_reason:
            return []
        if live.stop_reason:
            stop_growing(live)
        else:
            effects += ask_idle(state, live)
            if live.ending is not None and not live.grown:
                effects += stop_branches(state, live, *live.ending)
                stop_growing(live)
    if live.grown and live.scored:
        effects += finish(state, live)
    return effects


def ask_idle(state: State, live: LiveTree) -> list[Effect]:
    """Ask the policy how to go on, as nothing runs. If nothing does then, the tree has grown."""
    asked = PersistEntry.of(live, Asked())
    decide(state, live, calls.on_idle(state, live))
    if live.active == 0:
        stop_growing(live)
    return [asked]


def stop_growing(live: LiveTree) -> None:
    """No branch will start any more."""
    close_held(live)
    live.grown = True


def score_leaf(state: State, event: LeafScored) -> list[Effect]:
    """Record the outcome of scoring. RewardOnce: a second outcome for the same leaf changes nothing."""
    live = state.trees.get(event.tree_id)
    if live is None or event.node in live.tree.rewards:
        return []
    value, error = event.value, event.error
    if value is not None and not isfinite(value):
        value, error = None, f"the scorer says {value}, which is no reward"
    live.tree.rewards[event.node] = value
    if event.abstained:
        live.abstained.add(event.node)
        return [PersistEntry.of(live, Abstained(event.node)), *settle_tree(state, live)]
    if value is None:
        live.run.counters.reward_errors += 1
    scorer = live.run.spec.scorer or ""
    return [PersistReward(live, event.node, scorer, value, error), *settle_tree(state, live)]


def judge_path(state: State, event: PathJudged) -> list[Effect]:
    """Record what the judge said of a held path, and only then show the node to the policy."""
    live = state.trees.get(event.tree_id)
    if live is None or event.node in live.tree.values:
        return []
    value, error = event.value, event.error
    if value is not None and not 0 <= value <= 1:
        value, error = None, f"the judge says {value:g}, which is not from 0 to 1"
    if value is None and not event.abstained:
        live.run.counters.reward_errors += 1
    judged = PersistEntry.of(live, Judged(event.node, value))
    show_judged(state, live, event.node, value)
    judge = live.run.spec.judge or ""
    said: list[Effect] = [] if event.abstained else [PersistReward(live, event.node, judge, value, error)]
    return [*said, judged, *settle_tree(state, live)]


def show_judged(state: State, live: LiveTree, node: int, value: float | None) -> None:
    """A held path has its value: the policy sees it."""
    live.tree.values[node] = value
    live.judging -= 1
    if not live.stop_reason:
        _ask(state, live, live.tree.nodes[node])
