"""The completion reserve: a budget of tokens or leaves goes to trees that it can finish.

Ours: the reference asks for a reserve of live leaves times the P75 of tokens to finish. We know what trees take, and no
leaf is of use to a trainer without the others of its group, so we reserve by the tree.
"""

from collections.abc import Iterator
from typing import NamedTuple

from treeroll.core.budget.blocked import held_up
from treeroll.core.model.ledger import Ledger
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.run import Run
from treeroll.core.model.state import State
from treeroll.core.model.tree_costs import TreeCosts


def may_admit(state: State, run: Run) -> bool:
    """Whether the budget of a run lets it start a tree now. Where nothing grows, one may always try."""
    if not run.capped:
        return True
    return not held_up(state, run) and (not run.growing or _covers(state, run))


def note_ended(live: LiveTree) -> None:
    """A tree ended: there may be room for another one."""
    live.run.reserved = False
    if not live.stop_reason:
        for resource in _resources(live.run):
            resource.costs.add(resource.used(live))


class _Resource(NamedTuple):
    """What trees are finished of: its account, what whole trees took, and the most that one may take."""

    ledger: Ledger
    costs: TreeCosts
    most: int

    def used(self, live: LiveTree) -> int:
        """What a tree has taken."""
        return len(live.tree.leaves) if self.ledger.key == "leaves" else live.ledger.spent


def _resources(run: Run) -> Iterator[_Resource]:
    leaves = run.spec.branch.max_leaves
    if run.ledger.cap is not None:
        yield _Resource(run.ledger, run.costs, leaves * run.spec.max_tokens)
    for ledger in run.counts:
        if ledger.key == "leaves":
            yield _Resource(ledger, run.leaf_costs, leaves)


def _covers(state: State, run: Run) -> bool:
    """Whether what is left covers what growing trees are expected to need yet, and one whole tree."""
    if not run.reserved:
        run.reserved = not all(_covered(state, run, resource) for resource in _resources(run))
    return not run.reserved


def _covered(state: State, run: Run, resource: _Resource) -> bool:
    """The same of one resource.

    A tree is expected to take what three quarters of the trees before it did not exceed; before there is one, as much
    as it may. Spending takes from what is left at least what it takes from what is needed: "no" holds till a tree ends.
    """
    whole = resource.costs.p75
    if whole is None:
        whole = resource.most
    left = (resource.ledger.cap or 0) - resource.ledger.spent
    if left >= whole * (run.growing + 1):
        return True
    growing = (live for live in state.trees.values() if live.run is run)
    return left >= whole + sum(max(0, whole - resource.used(live)) for live in growing)
