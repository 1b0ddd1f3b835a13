"""How many leaves each task's tree gets: an allocator is asked when tasks arrive or start, and told how trees ended."""

from collections.abc import Sequence
from dataclasses import replace

from treeroll.core.guard import calls
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.run import Run, TaskSpec
from treeroll.core.model.state import State
from treeroll.errors import PolicyFailed
from treeroll.policy.allocate import BudgetAllocator, BudgetView, Outcome, TaskView


def at_submission(state: State, run: Run, tasks: list[TaskSpec]) -> list[TaskSpec]:
    """The tasks with their leaves, if the run's allocator shares them out when tasks arrive. PolicyFailed if it has
    none for them."""
    allocator = run.spec.allocate
    if allocator is None or allocator.asked != "submission":
        return tasks
    return _asked(state, run, allocator, tasks, len(tasks))


def at_start(state: State, run: Run, task: TaskSpec) -> tuple[TaskSpec, PolicyFailed | None]:
    """The task with its leaves, if the run's allocator gives them when its tree starts, or why it has none for it."""
    allocator = run.spec.allocate
    if allocator is None or allocator.asked != "start":
        return task, None
    try:
        return _asked(state, run, allocator, [task], 1)[0], None
    except PolicyFailed as failure:
        return task, failure


def record_outcome(state: State, live: LiveTree) -> tuple[str, str] | None:
    """Tell allocator and route how a tree ended; what it adds to the history, to be stored: task id and record."""
    run, view, model = live.run, live.task.view, live.task.model
    if view is None:
        return None
    scored = [reward for reward in live.tree.rewards.values() if reward is not None]
    threshold, route = run.spec.success, run.spec.route
    successes = 0 if threshold is None else sum(reward >= threshold for reward in scored)
    outcome = Outcome(successes, len(scored), live.ledger.spent, state.now - live.planted_at)
    calls.learn(state, run, view, outcome, model)
    if threshold is None or not scored or (route is not None and route.rated not in (None, model)):
        return None
    version = _weights_of(state, run)
    record = run.history.add(live.task.task_id, live.task.epoch, successes, len(scored), live.ledger.spent, version)
    return live.task.task_id, record.written()


def _asked(state: State, run: Run, allocator: BudgetAllocator, tasks: Sequence[TaskSpec], fresh: int) -> list[TaskSpec]:
    """`fresh` of the tasks are not among the waiting ones."""
    views = [task_view(state, run, task) for task in tasks]
    given = calls.allotted(state, run, allocator, views, budget_view(state, run, fresh))
    return [
        replace(task, leaves=leaves, view=view, allotted_by=why)
        for task, (leaves, why), view in zip(tasks, given, views, strict=True)
    ]


def task_view(state: State, run: Run, task: TaskSpec) -> TaskView:
    """The task as policies see it."""
    known = run.history.of(task.task_id, task.epoch, _weights_of(state, run))
    return TaskView(task.task_id, task.prompt_text, len(task.prompt_ids) // 4, *known)


def _weights_of(state: State, run: Run) -> int:
    """The version that histories go by: of several models, that of the one which was updated last."""
    return max(state.pools[name].weights.current.version for name in run.spec.models)


def _promised(state: State, run: Run) -> int:
    """Tokens that the run's growing trees are expected to take yet."""
    growing = (live for live in state.trees.values() if live.run is run)
    return sum(max(0, round(live.charge) - live.ledger.spent) for live in growing)


def budget_view(state: State, run: Run, fresh: int) -> BudgetView:
    """What the run has left; `fresh` of the tasks that it is asked for are not among the waiting ones."""
    limit, spent, leaves = run.ledger.cap, run.ledger.spent, run.counters.leaves
    return BudgetView(
        tokens_left=None if limit is None else max(0, limit - spent - _promised(state, run)),
        seconds_left=None if run.ends_at is None else max(0.0, run.ends_at - state.now),
        tokens_per_leaf=spent / leaves if leaves else float(run.spec.max_tokens),
        tasks_left=len(run.waiting) + fresh,
        slots=sum(state.pools[name].free_slots.slots for name in run.spec.models),
    )
