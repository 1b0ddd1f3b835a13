"""Which of several models grows a task's tree: a route is asked when there is a place for it."""

from dataclasses import replace

from treeroll.core.guard import calls
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.pool import Pool
from treeroll.core.model.run import ModelUse, Run, TaskSpec
from treeroll.core.model.state import State
from treeroll.core.scheduling.allocation import budget_view, task_view
from treeroll.errors import PolicyFailed
from treeroll.policy.route import ModelView, RoutePolicy

# Tasks that one call sends elsewhere at most, so that a step stays short.
SENT_AT_ONCE = 1000


def next_task(state: State, run: Run, pool: Pool) -> tuple[TaskSpec | None, PolicyFailed | None]:
    """The run's next task that is to grow in the pool. Those before it that are not wait for the pool they are sent to.

    None if there is none, or if so many were sent elsewhere that the next call must go on. With a task for which the
    route has no model comes why.
    """
    route = run.spec.route
    if route is None:
        return run.waiting.take(pool.name, run.is_far_ahead), None
    for _ in range(SENT_AT_ONCE):
        task = run.waiting.take(pool.name, run.is_far_ahead)
        if task is None:
            return None, None
        try:
            task, model = _asked(state, run, route, task)
        except PolicyFailed as failure:
            return task, failure
        if model == pool.name:
            return task, None
        run.waiting.send(task, model)
        state.sent = True
    return None, None


def note_planted(run: Run, live: LiveTree) -> None:
    """A tree starts."""
    if (use := run.uses.get(live.task.model)) is not None:
        live.promised = _expected(run, use)
        use.trees += 1
        use.promised += live.promised


def note_ended(live: LiveTree) -> None:
    """A tree ended: from now on it counts with what it took. One that was cut says nothing of what trees take."""
    if (use := live.run.uses.get(live.task.model)) is not None:
        use.promised -= live.promised
        use.tokens += live.ledger.spent
        if not live.stop_reason:
            use.whole += 1
            use.whole_tokens += live.ledger.spent


def _asked(state: State, run: Run, route: RoutePolicy, task: TaskSpec) -> tuple[TaskSpec, str]:
    """The task with what is known of it, and its model."""
    view = task_view(state, run, task)
    models = {name: _view(state, run, name) for name in route.models}
    model = calls.routed(state, run, view, budget_view(state, run, 1), models)
    return replace(task, view=task.view or view), model


def _view(state: State, run: Run, name: str) -> ModelView:
    use = run.uses[name]
    return ModelView(_expected(run, use), use.tokens + use.promised, state.pools[name].free_slots.slots)


def _expected(run: Run, use: ModelUse) -> float:
    """Tokens of a tree: the mean of whole ones, or as many as it may take."""
    most = run.spec.branch.max_leaves * run.spec.max_tokens
    return use.whole_tokens / use.whole if use.whole else float(most)
