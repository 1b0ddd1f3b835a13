"""Held paths wait for late ones, but for so long only where their policy has a timeout."""

import heapq
from collections.abc import Sequence

from treeroll.core.growth.expand import expand
from treeroll.core.guard import calls
from treeroll.core.model.effects import Effect, PersistEntry
from treeroll.core.model.journal import TimedOut
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.state import State
from treeroll.policy.base import Expansion


def decide(state: State, live: LiveTree, expansions: Sequence[Expansion]) -> None:
    """Carry out what the policy decided; nobody waits for others from here on."""
    live.times_out_at = None
    expand(state, live, expansions)


def await_others(state: State, live: LiveTree) -> None:
    """A path was held undecided: the wait of the first such path counts."""
    if live.timeout_s is None or live.times_out_at is not None:
        return
    live.times_out_at = state.now + live.timeout_s
    _set_timer(state, live, live.times_out_at)


def wait_again(state: State, live: LiveTree) -> None:
    """The tree was on its way back: if its paths waited, their wait begins anew."""
    waited, live.times_out_at, live.timed = live.times_out_at is not None, None, False
    if waited:
        await_others(state, live)


def _set_timer(state: State, live: LiveTree, at: float) -> None:
    """One per tree, however many waits there are: one that has ended by itself is found out when the timer rings."""
    if not live.timed:
        live.timed = True
        heapq.heappush(state.timeouts, (at, live.tree_id))


def end_waits(state: State) -> list[Effect]:
    """Ask the policies whose trees have waited long enough."""
    effects: list[Effect] = []
    while state.timeouts and state.timeouts[0][0] <= state.now:
        live = state.trees.get(heapq.heappop(state.timeouts)[1])
        if live is None:
            continue
        live.timed = False
        if live.times_out_at is None or live.stop_reason or not live.active:
            continue
        if live.times_out_at > state.now:
            _set_timer(state, live, live.times_out_at)
        else:
            effects.append(PersistEntry.of(live, TimedOut()))
            decide(state, live, calls.on_timeout(state, live))
    return effects
