"""Branches of a coordinator that died find their replicas again, or are granted anew.

A replica says what its live grants are for. If the branch is where that grant left it, it goes on there as if nothing
had happened; all else that the replica has is stopped. What nobody says to have when all replicas are back, or when
those that are not have had the time of a lease, is lost if it ran, and waits if it did not.
"""

from treeroll.core.budget.accounts import claims
from treeroll.core.growth.lifecycle import lose_grant, settle_tree
from treeroll.core.growth.start_order import grant_name
from treeroll.core.model.branch import Branch, BranchState
from treeroll.core.model.effects import DropReplica, Effect, PersistEntry
from treeroll.core.model.events import Claim, ReplicaJoined
from treeroll.core.model.fleet import Replica
from treeroll.core.model.journal import Lost
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.orphans import Orphans
from treeroll.core.model.state import State
from treeroll.core.scheduling.assign import reserve, serve
from treeroll.tree.node import Node
from treeroll.tree.tree import path_name

RUNNING, STOPPING = BranchState.RUNNING, BranchState.STOPPING
Found = tuple[LiveTree, Branch]


def take_in(state: State, orphans: Orphans, live: LiveTree) -> None:
    """A tree was grown again: whatever ran of it, or may have, waits for its replica. The run's caps count what ran."""
    for branch in live.branches.values():
        if branch.state is BranchState.PENDING:
            orphans.take_unsure(live, branch)
        elif branch.state in (RUNNING, STOPPING):
            for account in live.accounts:
                if account is not live.ledger:
                    account.reserve(branch.reserved)
            if branch.state is RUNNING:
                _claim_counts(live, branch)
            branch.grant = state.next_grant
            state.next_grant += 1
            state.grants[branch.grant] = live, branch
            orphans.ran.add(branch.grant)


def _claim_counts(live: LiveTree, branch: Branch) -> None:
    if live.run.capped:
        branch.claims = claims(live, branch)
        for ledger in branch.claims:
            ledger.reserve(1)


def find(state: State, claim: Claim) -> Found | None:
    """The branch that a replica says to serve, if it is one that waits for its replica.

    One that the replica stops goes on nowhere, unless it is known here to be stopped: the order may be of a commit that
    its store lost, or of a coordinator that died before it had decided.
    """
    live = state.trees.get(claim.tree_id)
    if state.orphans is None or live is None or claim.grant < live.first_grant:
        return None  # it may be of an earlier growth, whose first segments are not in this one
    for branch in live.branches.values():
        if claim.stopped and branch.state is not STOPPING:
            continue
        if state.orphans.has(live, branch) and _began(live, branch, claim.prefix_tokens) == claim.branch:
            return live, branch
    return None


def _began(live: LiveTree, branch: Branch, prefix_tokens: int) -> str | None:
    """The name of the grant that went on from so many tokens and that the branch waits for; None if there is none.

    One that ended has no place here, though its replica may not know yet that its end is durable.
    """
    if prefix_tokens == branch.total:  # and has made no node
        return grant_name(live, branch) if branch.state is not RUNNING else None
    own = _nodes_of_grant(live, branch, prefix_tokens)
    if branch.state is BranchState.PENDING or not own or own[-1].token_start != prefix_tokens:
        return None
    return path_name(live.tree.path(own[-1].number))


def _nodes_of_grant(live: LiveTree, branch: Branch, prefix_tokens: int) -> list[Node]:
    """What the grant that made the branch's last node has made, the last one first; nothing if it began behind that."""
    nodes, found = live.tree.nodes, list[Node]()
    number = branch.tip if branch.started and prefix_tokens < branch.total else 0
    while number and nodes[number].grant == nodes[branch.tip].grant:
        found.append(nodes[number])
        number = nodes[number].parent
    return found


def return_of(state: State, replica: Replica, event: ReplicaJoined) -> list[Found]:
    """A replica has come. Returns the branches that go on there."""
    orphans = state.orphans
    if orphans is None:
        return []
    if event.incarnation >= orphans.awaited.get(replica.replica_id, event.incarnation + 1):
        del orphans.awaited[replica.replica_id]
        orphans.missed |= not event.returns
    # Of two grants of one branch the later one is in force.
    served = [claim for claim in event.claims if claim.grant in event.live_grants]
    newest = sorted(served, key=lambda claim: (claim.attempt, claim.grant), reverse=True)
    return [found for claim in newest if (found := _go_on(state, orphans, replica, claim)) is not None]


def _go_on(state: State, orphans: Orphans, replica: Replica, claim: Claim) -> Found | None:
    found = find(state, claim)
    if found is None or claim.grant in state.grants or claim.grant >= orphans.before or replica.free < 1:
        return None
    live, branch = found
    own = _nodes_of_grant(live, branch, claim.prefix_tokens)
    if branch.model != replica.model or claim.attempt != branch.failures + 1:
        return None
    if not _made_by(own, (replica.replica_id, replica.incarnation, claim.attempt)):
        return None
    if branch.state is BranchState.PENDING:
        del orphans.unsure[live.tree_id, branch.number]
        _claim_counts(live, branch)
        reserve(live, branch)
    else:
        orphans.ran.remove(branch.grant)
        del state.grants[branch.grant]
    served, key = live.served, (replica.replica_id, replica.incarnation)
    serve(state, replica, live, branch, claim.grant)
    served[key] = min(served[key], claim.grant)
    for node in own:
        node.grant = claim.grant
    return found


def _made_by(own: list[Node], by: tuple[str, int, int]) -> bool:
    """Whether nodes are of one grant: of this replica, incarnation and attempt."""
    return all((node.replica_id, node.origin.incarnation, node.origin.attempt) == by for node in own)


def give_up(state: State) -> list[Effect]:
    """No replica is waited for any more: what ran is lost, and all else may go on."""
    orphans, state.orphans = state.orphans, None
    if orphans is None:
        return []
    effects: list[Effect] = [
        DropReplica(name, incarnation, "it did not come back to the coordinator that took over")
        for name, incarnation in orphans.awaited.items()
    ]
    lost = [state.grants[grant] for grant in sorted(orphans.ran)]
    if orphans.missed or orphans.awaited:  # which may have run what seems to have waited
        for live, branch in orphans.waiting:
            reserve(live, branch)
            branch.grant = state.next_grant
            state.next_grant += 1
            state.grants[branch.grant] = live, branch
            lost.append((live, branch))
    else:
        state.wanted += orphans.waiting
    for live, branch in lost:
        lose_grant(state, live, branch)
        effects.append(PersistEntry.of(live, Lost(branch.number)))
        effects += settle_tree(state, live)
    state.wanted += orphans.held
    return effects


def expire(state: State) -> list[Effect]:
    """Time has passed: a lease of it for replicas that were served by the last coordinator."""
    orphans = state.orphans
    if orphans is None:
        return []
    if orphans.until is None:
        orphans.until = state.now + state.settings.lease_s
    return give_up(state) if state.now > orphans.until else []
