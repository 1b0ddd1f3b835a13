"""Several runs on one fleet: who is next, by weight. Fair queueing by virtual time, a tree at a time.

A run is charged for a tree when it starts, by what its trees took so far, and set right when the tree ends: for what
was generated, and for what had to be computed a second time. So the run whose branches are moved about pays for it.
"""

from treeroll.core.budget.completion_reserve import may_admit
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.pool import Pool
from treeroll.core.model.run import Run, RunState
from treeroll.core.model.state import State
from treeroll.core.scheduling.publication import held_back
from treeroll.core.scheduling.routing import note_ended, note_planted


def next_run(state: State, pool: Pool) -> Run | None:
    """Of the runs with tasks for the pool, and budget to start them, the one that has had least for its weight."""
    waiting = [run for run in state.runs.values() if pool.name in run.spec.models and _may_start(state, run, pool)]
    return min(waiting, key=lambda run: (run.virtual, run.spec.run_id), default=None)


def _may_start(state: State, run: Run, pool: Pool) -> bool:
    if run.state is RunState.CANCELLED or held_back(state, run):
        return False
    if state.orphans is not None and state.orphans.holds(run):
        return False
    if not run.waiting.may_have(pool.name, asked_only=run.is_far_ahead):
        return False
    return may_admit(state, run)


def charge_start(run: Run, live: LiveTree) -> None:
    """A tree starts."""
    live.charge = run.tokens_per_tree()
    run.charged += live.charge
    if run.uses:
        note_planted(run, live)


def charge_end(live: LiveTree) -> None:
    """A tree ended: from now on the run is charged for what it took."""
    live.run.charged += live.ledger.spent + live.recomputed - live.charge
    live.run.ended += 1
    live.run.ended_tokens += live.ledger.spent
    if live.run.uses:
        note_ended(live)


def catch_up(state: State, run: Run) -> None:
    """A run that had nothing to do wants slots again: what others had meanwhile is no debt of theirs."""
    if run.waiting or run.growing:
        return
    busy = [other.virtual for other in state.runs.values() if other is not run and (other.waiting or other.growing)]
    run.charged = max(run.charged, min(busy, default=0.0) * run.spec.weight)
