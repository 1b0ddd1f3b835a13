"""What consumers have to say of growth: how far they have come, and which trees they wait for by name."""

import heapq

from treeroll.core.growth.leaving import let_go
from treeroll.core.model.effects import Effect
from treeroll.core.model.events import GroupHeard, TreesAsked, TreesWithheld
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.run import Run
from treeroll.core.model.state import State


def heard(state: State, event: GroupHeard) -> None:
    """A group stands somewhere. Growth waits for it from here on, until it has not been heard for long."""
    run = state.runs.get(event.run_id)
    if run is None or run.pace is None:  # deleted meanwhile, or nobody is waited for
        return
    group = run.pace.heard(event.group, event.delivered, event.pending, state.now)
    if not group.timed:
        group.timed = True
        heapq.heappush(state.idles, (state.now + run.spec.delivery.group_idle_s, event.run_id, event.group))


def note_idle(state: State) -> None:
    """Groups that have not been heard for long hold nobody up any more. One timer each, set again when it rings."""
    while state.idles and state.idles[0][0] <= state.now:
        _, run_id, name = heapq.heappop(state.idles)
        run = state.runs.get(run_id)
        group = run.pace.groups.get(name) if run is not None and run.pace is not None else None
        if run is None or group is None or not group.timed:
            continue
        idle_at = group.heard_at + run.spec.delivery.group_idle_s
        group.timed = idle_at > state.now
        group.idle = not group.timed
        if group.timed:
            heapq.heappush(state.idles, (idle_at, run_id, name))


def ask(state: State, event: TreesAsked) -> list[Effect]:
    """Somebody waits for these trees: they start before others, leave when they end, and hold nobody up."""
    run = state.runs.get(event.run_id)
    effects: list[Effect] = []
    for tree_id in event.tree_ids if run is not None else ():
        if run is None or run.waiting.ask(tree_id):
            continue
        live = state.trees.get(tree_id)
        if live is not None and live.run is run:
            live.asked = True
            _give_place_back(run, live)
        else:
            effects += let_go(run, tree_id)
            if run.pace is not None:
                run.pace.give_back(tree_id)
    return effects


def note_withheld(state: State, event: TreesWithheld) -> None:
    """Who waits for trees with samples has to hold these meanwhile: they must not keep others from growing."""
    run = state.runs.get(event.run_id)
    if run is not None and run.pace is not None:
        for tree_id in event.tree_ids:
            run.pace.give_back(tree_id)


def has_ended(state: State, run_id: str, tree_id: str) -> bool:
    """Whether a tree of the run neither waits, nor grows, nor waits to leave. Its end may not be stored yet."""
    run = state.runs.get(run_id)
    if tree_id in state.trees or (run is not None and tree_id in run.waiting):
        return False
    return run is None or run.window is None or tree_id not in run.window.numbers


def take_place(run: Run, live: LiveTree) -> None:
    """A tree starts. One that somebody asked for needs no place."""
    live.asked = run.waiting.start(live.task)
    if run.pace is not None and not live.asked:
        live.placed = True
        run.pace.growing += 1


def _give_place_back(run: Run, live: LiveTree) -> None:
    if live.placed and run.pace is not None:
        live.placed = False
        run.pace.growing -= 1
