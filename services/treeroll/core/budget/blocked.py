"""Branches whose grant does not fit an account: they wait for a refund or for time, or are cut. Never clipped."""

import heapq
from collections import deque

from treeroll.core.model.branch import Branch, BranchState
from treeroll.core.model.ledger import Ledger
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.run import Run
from treeroll.core.model.state import BlockedGrant, State
from treeroll.core.model.token_bucket import Bucket

PENDING = BranchState.PENDING


def short_account(state: State, live: LiveTree, need: int, claims: tuple[Ledger, ...]) -> Ledger | Bucket | None:
    """An account with too little room for a grant of `need` tokens that claims one each of `claims`; None: it fits."""
    for ledger in claims:
        if not ledger.fits(1):
            return ledger
    if live.run.bucket is not None:
        live.run.bucket.refill(state.now)
    for account in live.accounts:
        if not account.fits(need):
            return account
    return None


def block(state: State, account: Ledger | Bucket, need: int, live: LiveTree, branch: Branch) -> None:
    """Set a branch aside that needs so much of the account."""
    state.order += 1
    entry = (need, state.order, live, branch)
    if isinstance(account, Bucket):
        heapq.heappush(state.throttled.setdefault(account, []), entry)
    elif account.outstanding:
        heapq.heappush(state.blocked.setdefault(account, []), entry)
    else:  # nothing can be returned, so it will never fit
        state.doomed.setdefault(account, deque()).append(entry)


def unblock(state: State, live: LiveTree) -> None:
    """A grant of this tree is over: what its accounts have room for may try again."""
    for account in (*live.accounts, *live.run.counts):
        if isinstance(account, Ledger) and (waiting := state.blocked.get(account)) is not None:
            _retry(state, account, waiting)


def _retry(state: State, ledger: Ledger, waiting: list[BlockedGrant]) -> None:
    """Let as many try again as fit together; once nothing is outstanding, each that fits alone: others never will."""
    room, last = ledger.room or 0, not ledger.outstanding
    while waiting and waiting[0][0] <= room:
        need, _, live, branch = heapq.heappop(waiting)
        if branch.state is PENDING:
            room -= 0 if last else need
            state.wanted.append((live, branch))
    if last and waiting:
        state.doomed.setdefault(ledger, deque()).extend(sorted(waiting, key=lambda entry: entry[1]))
    if last or not waiting:
        del state.blocked[ledger]


def release_throttled(state: State) -> None:
    """Time has passed: what the buckets have room for may try again."""
    for bucket, waiting in list(state.throttled.items()):
        bucket.refill(state.now)
        room = bucket.room
        while waiting and (waiting[0][0] <= room or waiting[0][3].state is not PENDING):
            need, _, live, branch = heapq.heappop(waiting)
            if branch.state is PENDING:
                room -= need
                state.wanted.append((live, branch))
        if not waiting:
            del state.throttled[bucket]


def next_doomed(state: State) -> tuple[Ledger, BlockedGrant]:
    """Take the next branch that never will fit, and the account that it does not fit."""
    ledger, entries = next(iter(state.doomed.items()))
    entry = entries.popleft()
    if not entries:
        del state.doomed[ledger]
    return ledger, entry


def held_up(state: State, run: Run) -> bool:
    """Whether branches of the run wait for an account of the whole run, so that another tree would only wait too."""
    return (
        any(ledger in state.blocked or ledger in state.doomed for ledger in (run.ledger, *run.counts))
        or run.bucket in state.throttled
    )


def refusal(ledger: Ledger, need: int) -> str:
    """Why a branch was cut, as one sentence."""
    owner = {"tree_tokens": "tree", "task_tokens": "task"}.get(ledger.key, "run")
    if "tokens" not in ledger.key:
        return f"the run's budget of {ledger.cap} {ledger.key.replace('_', ' ')} is used up; raise budget.{ledger.key}"
    key = "budget_tokens" if ledger.key == "tokens" else f"budget.{ledger.key}"
    return (
        f"the {owner}'s budget has {max(0, ledger.room or 0)} tokens left and a branch may need {need}; "
        f"raise {key} or lower max_tokens"
    )
