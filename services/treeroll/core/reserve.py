"""The completion reserve: a budget of tokens goes to trees that it can finish.

Ours: the reference asks for a reserve of live leaves times the P75 of tokens to finish. We know how many tokens trees
take, and no leaf is of use to a trainer without the others of its group, so we reserve by the tree.
"""

from treeroll.core.live import LiveTree
from treeroll.core.masks import held_up
from treeroll.core.run import Run
from treeroll.core.state import State


def may_admit(state: State, run: Run) -> bool:
    """Whether the budget of a run lets it start a tree now. Where nothing grows, one may always try."""
    if not run.capped:
        return True
    return not held_up(state, run) and (not run.growing or _covers(state, run))


def note_ended(live: LiveTree) -> None:
    """A tree ended: there may be room for another one."""
    run = live.run
    run.reserved = False
    if run.ledger.cap is not None and not live.cut:
        run.costs.add(live.ledger.spent)


def _covers(state: State, run: Run) -> bool:
    """Whether what is left covers what growing trees are expected to need yet, and one whole tree.

    A tree is expected to take what three quarters of the trees before it did not exceed; before there is one, as much
    as it may.
    """
    if run.ledger.cap is None:
        return True
    if run.reserved:
        return False
    whole = run.costs.p75
    if whole is None:
        whole = run.spec.branch.max_leaves * run.spec.max_tokens
    left = run.ledger.cap - run.ledger.spent
    if left >= whole * (run.growing + 1):
        return True
    growing = (live.ledger.spent for live in state.trees.values() if live.run is run)
    # Spending takes from what is left at least what it takes from what is needed: "no" holds until a tree ends.
    run.reserved = left < whole + sum(max(0, whole - spent) for spent in growing)
    return not run.reserved
