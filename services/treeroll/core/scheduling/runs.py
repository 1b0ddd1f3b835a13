"""Runs and tasks: create, submit, close, cancel, run out of time. All idempotent by the caller's ids."""

import heapq
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from treeroll.core.budget.accounts import open_run
from treeroll.core.growth.leaving import leave
from treeroll.core.growth.lifecycle import end_tree
from treeroll.core.guard.calls import most_leaves
from treeroll.core.model.effects import Effect, PersistHistory, PersistRun, PersistTasks
from treeroll.core.model.history import History
from treeroll.core.model.live_tree import LiveTree, TreeStatus
from treeroll.core.model.pace import Pace
from treeroll.core.model.run import DeliveryTerms, ModelUse, Run, RunSpec, RunState, TaskSpec
from treeroll.core.model.state import State
from treeroll.core.model.window import Window
from treeroll.core.scheduling.allocation import at_submission
from treeroll.core.scheduling.fair_share import catch_up
from treeroll.core.scheduling.settle import settle
from treeroll.errors import RunBusy, RunClosed, RunConflict, TaskConflict, UnknownRun
from treeroll.tree.tree import Tree

# How much a conflict tells of what differs.
TOLD_KEYS, TOLD_CHARS = 8, 80
UNSET = "not set"


def get(state: State, run_id: str) -> Run:
    """The run, or UnknownRun."""
    try:
        return state.runs[run_id]
    except KeyError:
        raise UnknownRun(f"there is no run '{run_id}'; create it first") from None


def delivery_terms(state: State, run_id: str) -> DeliveryTerms:
    """What trees of a run are judged by when they are delivered, or UnknownRun."""
    versions = {name: pool.weights.current.version for name, pool in state.pools.items()}
    return DeliveryTerms(versions, get(state, run_id).spec.staleness)


def create(state: State, spec: RunSpec, now: float, wall: float) -> list[Effect]:
    """Create a run, or attach to an equal one. `wall` is `now` in seconds since the Unix epoch."""
    known = state.runs.get(spec.run_id)
    if known is None:
        run = state.runs[spec.run_id] = opened(spec, now, wall)
        _set_end(state, run, now, wall)
        # What is taken over is its own from here on: the run that it was of may be deleted.
        taken = [PersistHistory(run, name, record.written()) for name, record in run.history.records.items()]
        return [PersistRun(run), *taken]
    if known.spec.config_json != spec.config_json:
        differences = _differences(json.loads(known.spec.config_json), json.loads(spec.config_json))
        raise RunConflict(
            f"run '{spec.run_id}' exists with another configuration: {differences}; choose another id, or create it "
            "with the same"
        )
    return []


def opened(spec: RunSpec, now: float, wall: float) -> Run:
    """A run in which nothing has happened yet."""
    uses = {name: ModelUse() for name in spec.models} if spec.route else {}
    ahead = spec.delivery.ahead
    run = Run(spec, wall, history=spec.history or History(), uses=uses, pace=None if ahead is None else Pace(ahead))
    if spec.delivery.window is not None:
        run.window = Window(spec.delivery.window)
    open_run(run, now)
    return run


def _differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """The keys that differ, as configurations write them, each with both values."""
    old, new = _leaves(there), _leaves(here)
    keys = [key for key in sorted(old.keys() | new.keys()) if old.get(key, UNSET) != new.get(key, UNSET)]
    told = [f"{key} is {_told(old, key)} there and {_told(new, key)} here" for key in keys[:TOLD_KEYS]]
    more = [f"and {len(keys) - TOLD_KEYS} more keys differ"] if len(keys) > TOLD_KEYS else []
    return ", ".join(told + more)


def _leaves(values: dict[str, Any], parent: str = "") -> dict[str, str]:
    """Dotted key -> value as JSON, of all that is no mapping with keys."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found |= _leaves(value, f"{parent}{key}.")
        elif value != {}:
            found[parent + key] = json.dumps(value, ensure_ascii=False)
    return found


def _told(values: dict[str, str], key: str) -> str:
    text = values.get(key, UNSET)
    return text if len(text) <= TOLD_CHARS else f"{text[:TOLD_CHARS]}…"


def _set_end(state: State, run: Run, now: float, wall: float) -> None:
    """A deadline is a time of day, and is turned once into one on the clock of `now`, which never jumps."""
    budget = run.spec.budget
    left = [] if budget.seconds is None else [budget.seconds]
    if budget.deadline is not None:
        left.append(budget.deadline - wall)
    if left:
        run.ends_at, run.deadline = now + min(left), wall + min(left)
        heapq.heappush(state.ends, (run.ends_at, run.spec.run_id))


def submit(state: State, run_id: str, tasks: list[TaskSpec]) -> list[Effect]:
    """Accept all tasks or none. A task seen before with equal content is not added again."""
    run = get(state, run_id)
    fresh: dict[str, TaskSpec] = {}
    for task in tasks:
        known = run.tasks.get(task.key)
        digest = known[1] if known else fresh[task.key].digest if task.key in fresh else None
        if digest is None:
            fresh[task.key] = task
        elif digest != task.digest:
            raise TaskConflict(
                f"task '{task.task_id}' of epoch {task.epoch} exists in run '{run_id}' with other content"
            )
    if fresh and run.state is not RunState.OPEN:
        over = run.stop_detail if run.stop_reason == "deadline" else f"run '{run_id}' is {run.state}"
        raise RunClosed(f"{over}; it takes no more tasks")
    if not fresh:
        return []
    settle(state)
    tasks = [replace(task, number=number) for number, task in enumerate(fresh.values(), len(run.tasks))]
    allotted = at_submission(state, run, tasks)
    catch_up(state, run)
    run.missing = ""
    for task in allotted:
        run.tasks[task.key] = (task.tree_id, task.digest)
        run.waiting.append(task)
    return [PersistTasks(run, allotted)]


def close(state: State, run_id: str) -> list[Effect]:
    """Take no more tasks."""
    run = get(state, run_id)
    if run.state is RunState.OPEN:
        run.state = RunState.CLOSED
        return [PersistRun(run)]
    return []


def cancel(state: State, run_id: str) -> list[Effect]:
    """Stop growing: trees end with what they have, waiting tasks fail."""
    run = get(state, run_id)
    return [] if run.state is RunState.CANCELLED else _stop(state, run, "cancelled", "the run was cancelled")


def delete(state: State, run_id: str) -> list[Effect]:
    """Forget a run that has ended, or is suspended; RunBusy for another. What is stored of it the shell removes."""
    if state.suspended.pop(run_id, None) is not None:
        return []
    run = get(state, run_id)
    if not run.has_ended:
        raise RunBusy(
            f"run '{run_id}' is {run.state}, {len(run.waiting)} of its tasks wait and {run.growing} grow; cancel it, "
            "and delete it once they have ended"
        )
    del state.runs[run_id]
    return []


def end_stopped(state: State, limit: int) -> list[Effect]:
    """Stop the runs whose time is over; then end the waiting tasks of stopped runs, about `limit` effects at a time."""
    effects = _end_overdue(state)
    return effects + _end_cancelled(state, limit)


def _end_overdue(state: State) -> list[Effect]:
    """Stop the runs whose time is over, as if they were cancelled then."""
    effects: list[Effect] = []
    while state.ends and state.ends[0][0] <= state.now:
        at, run_id = heapq.heappop(state.ends)
        run = state.runs.get(run_id)
        if run is None or run.ends_at != at:  # deleted, and perhaps created again
            continue
        done = run.state is RunState.CLOSED and not run.waiting and not run.growing
        if run.state is not RunState.CANCELLED and not done:
            effects += _stop(state, run, "deadline", _deadline_passed(run))
    return effects


def _deadline_passed(run: Run) -> str:
    budget, at = run.spec.budget, datetime.fromtimestamp(run.deadline or 0.0, UTC).isoformat(timespec="seconds")
    by_seconds = budget.seconds is not None and (budget.deadline is None or budget.deadline > (run.deadline or 0.0))
    reason = f" ({budget.seconds:g} s after its creation)" if by_seconds else ""
    return f"the run's deadline {at}{reason} passed"


def _stop(state: State, run: Run, reason: str, why: str) -> list[Effect]:
    """Cut the trees that are not fully grown; those that only wait for rewards are whole."""
    run.state, run.stop_reason, run.stop_detail = RunState.CANCELLED, reason, why
    effects: list[Effect] = [PersistRun(run)]
    for live in [live for live in state.trees.values() if live.run is run and not live.grown]:
        effects += end_tree(state, live, reason, why)
    return effects


def _end_cancelled(state: State, limit: int) -> list[Effect]:
    """Terminal events of tasks that were waiting when their run was stopped, `limit` at a time."""
    effects: list[Effect] = []
    for run in state.runs.values():
        while run.state is RunState.CANCELLED and run.waiting and len(effects) < limit:
            effects += _fail_unplanted(state, run, run.waiting.take_any())
    return effects


def _fail_unplanted(state: State, run: Run, task: TaskSpec) -> list[Effect]:
    tree = Tree.planted(task.tree_id, 0, len(task.prompt_ids) // 4)
    live = LiveTree(run, task, tree, most_leaves=most_leaves(state, run, task), status=TreeStatus.FAILED, grown=True)
    live.stop_reason, live.error = run.stop_reason, f"{run.stop_detail} before this task started"
    live.ledger.granted = live.ledger.spent = run.carried.pop(task.tree_id, 0)
    return leave(live)
