"""The books after some events: what ended trees took is charged and learnt from, and refunds let others try again."""

from treeroll.core.budget import completion_reserve
from treeroll.core.budget.blocked import unblock
from treeroll.core.guard import memories
from treeroll.core.model.effects import Effect, PersistHistory, PersistMemory, PersistRun
from treeroll.core.model.state import State
from treeroll.core.scheduling import allocation, fair_share


def settle(state: State) -> None:
    """Take up what growth has left to the books, in order: `assign` does, and whoever reads the books before that."""
    ended, state.ended = state.ended, []
    for live in ended:
        for pool in state.pools.values():
            pool.quarantine.ended(live.tree_id)
        fair_share.charge_end(live)
        if live.run.capped:
            completion_reserve.note_ended(live)
            memories.note_ended(state, live)
        if (record := allocation.record_outcome(state, live)) is not None:
            state.learnt.append((live.run, *record))
    refunded, state.refunded = state.refunded, []
    for live in refunded:
        unblock(state, live)


def to_store(state: State) -> list[Effect]:
    """What ended trees add to the histories of their runs, what policies remember, and the runs that count a failure of
    one."""
    learnt, state.learnt = state.learnt, []
    told, state.memories = state.memories, []
    failed, state.failed = state.failed, {}
    return [
        *(PersistHistory(*row) for row in learnt),
        *(PersistMemory(*row) for row in told),
        *map(PersistRun, failed.values()),
    ]
