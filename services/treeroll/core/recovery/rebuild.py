"""The coordinator's memory of unfinished work, from what is stored of it."""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from treeroll.core.budget.accounts import charge_task, open_tree
from treeroll.core.growth.lifecycle import settle_tree
from treeroll.core.growth.timeouts import wait_again
from treeroll.core.model.effects import Effect, JudgePath, PersistAnew, ScoreLeaf
from treeroll.core.model.journal import Carried
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.orphans import Orphans, of_sessions
from treeroll.core.model.run import Run, TaskSpec
from treeroll.core.model.state import State
from treeroll.core.recovery.remains import Damaged, RunRemains
from treeroll.core.recovery.replay import replay
from treeroll.core.scheduling.orphans import give_up, take_in


@dataclass(slots=True)
class Rebuilt:
    """What follows from going on: to be made durable and carried out before anything else. And what was damaged."""

    effects: list[Effect] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    """Tree id -> a sentence: where what is stored of it and its growth part. It grows anew."""
    trees: int = 0
    nodes: int = 0


def rebuild(state: State, remains: Iterable[RunRemains], sessions: Mapping[str, int] | None = None) -> Rebuilt:
    """Put stored runs back into a state that has none and no replicas.

    What ran waits for its replica: `sessions` are those that the last coordinator had, replica -> incarnation.
    """
    rebuilt, orphans = Rebuilt(), of_sessions(sessions or {}, state.next_grant)
    for one in remains:
        _take_run(state, orphans, one, rebuilt)
    state.orphans = orphans
    if not orphans.awaited:
        rebuilt.effects += give_up(state)
    for live in list(state.trees.values()):
        rebuilt.effects += _await_scores(live)
        if live.active == 0 or live.grown:
            rebuilt.effects += settle_tree(state, live)
    return rebuilt


def _take_run(state: State, orphans: Orphans, remains: RunRemains, rebuilt: Rebuilt) -> None:
    run = remains.run
    state.runs[run.spec.run_id] = run
    if run.ends_at is not None:
        heapq.heappush(state.ends, (run.ends_at, run.spec.run_id))
    waiting = list(remains.waiting)
    for task, why in remains.broken:
        rebuilt.damaged[task.tree_id] = why
        rebuilt.effects.append(_anew(run, task, 0))
        waiting.append(task)
    for tree in remains.growing:
        try:
            grown = replay(state.settings, run, tree).live
        except Damaged as error:
            rebuilt.damaged[tree.task.tree_id] = str(error)
            rebuilt.effects.append(_anew(run, tree.task, tree.spent))
            waiting.append(tree.task)
        else:
            rebuilt.trees, rebuilt.nodes = rebuilt.trees + 1, rebuilt.nodes + len(grown.tree.nodes)
            take_tree(state, orphans, run, grown)
    for task in sorted(waiting, key=_number):
        run.waiting.append(task)
    _hold_back(run, remains)


def _number(task: TaskSpec) -> int:
    return task.number


def _hold_back(run: Run, remains: RunRemains) -> None:
    """Trees that leave in order: what has left, and what waits to."""
    if run.window is None:
        return
    run.window.left = set(remains.left)
    while run.window.head in run.window.left:
        run.window.left.remove(run.window.head)
        run.window.head += 1
    for live in remains.held:
        run.window.held[live.task.number], run.window.numbers[live.tree_id] = live, live.task.number
        if live.placed and run.pace is not None:
            run.pace.growing += 1


def _anew(run: Run, task: TaskSpec, spent: int) -> Effect:
    """Nothing of a damaged tree is used: what it spent stays spent."""
    run.counters.damaged += 1
    run.carried[task.tree_id] = spent
    charge_task(run, task.task_id, spent)
    return PersistAnew(run, task, Carried(spent))


def take_tree(state: State, orphans: Orphans, run: Run, live: LiveTree) -> None:
    """A tree that was grown again is the run's own, and goes on."""
    live.run = run
    open_tree(live)
    charge_task(run, live.task.task_id, live.ledger.spent)
    if (use := run.uses.get(live.task.model)) is not None:
        use.promised += live.promised
    if live.placed and run.pace is not None:
        run.pace.growing += 1
    state.trees[live.tree_id] = live
    state.pools[live.task.model].trees += 1
    state.order = max(state.order, live.admitted)
    run.growing += 1
    wait_again(state, live)
    take_in(state, orphans, live)


def _await_scores(live: LiveTree) -> list[Effect]:
    """Whoever was asked for a score is asked again."""
    effects: list[Effect] = []
    if live.run.spec.scores_here:
        effects += [ScoreLeaf(live, leaf) for leaf in live.tree.leaves if leaf not in live.tree.rewards]
    if live.run.spec.judge is not None:
        effects += [JudgePath(live, node) for node in live.held if node not in live.tree.values]
    return effects
