"""The books after some events: what ended trees took is charged and learnt from, and refunds let others try again."""

from treeroll.core import allot, reserve, shares
from treeroll.core.effects import Effect, PersistHistory
from treeroll.core.masks import unblock
from treeroll.core.state import State


def settle(state: State) -> list[Effect]:
    """Take up what growth has left to the books, in order: `assign` does, and whoever reads the books before that."""
    effects: list[Effect] = []
    ended, state.ended = state.ended, []
    for live in ended:
        shares.charge_end(live)
        if live.run.capped:
            reserve.note_ended(live)
        if (record := allot.told(state, live)) is not None:
            effects.append(PersistHistory(live.run, *record))
    refunded, state.refunded = state.refunded, []
    for live in refunded:
        unblock(state, live)
    return effects
