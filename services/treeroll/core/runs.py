"""Runs and tasks: create, submit, close, cancel. All idempotent by the caller's ids."""

from treeroll.core.allot import at_submission
from treeroll.core.effects import Effect, EmitTree, PersistRun, PersistTasks, PersistTree
from treeroll.core.grow import cut_tree
from treeroll.core.history import History
from treeroll.core.live import LiveTree, TreeStatus
from treeroll.core.run import Run, RunSpec, RunState, TaskSpec
from treeroll.core.shares import catch_up
from treeroll.core.state import State
from treeroll.core.tree import Tree
from treeroll.errors import RunClosed, RunConflict, TaskConflict, UnknownRun


def get(state: State, run_id: str) -> Run:
    """The run, or UnknownRun."""
    try:
        return state.runs[run_id]
    except KeyError:
        raise UnknownRun(f"there is no run '{run_id}'; create it first") from None


def create(state: State, spec: RunSpec) -> list[Effect]:
    """Create a run, or attach to an equal one."""
    known = state.runs.get(spec.run_id)
    if known is None:
        run = state.runs[spec.run_id] = Run(spec, history=spec.history or History())
        return [PersistRun(run)]
    if known.spec.config_json != spec.config_json:
        raise RunConflict(f"run '{spec.run_id}' exists with another configuration; choose another id")
    return []


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
        raise RunClosed(f"run '{run_id}' is {run.state}; it takes no more tasks")
    if not fresh:
        return []
    allotted = at_submission(state, run, list(fresh.values()))
    catch_up(state, run)
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
    if run.state is RunState.CANCELLED:
        return []
    run.state = RunState.CANCELLED
    effects: list[Effect] = [PersistRun(run)]
    for live in [live for live in state.trees.values() if live.run is run]:
        effects += cut_tree(state, live, "cancelled", "the run was cancelled")
    return effects


def end_cancelled(state: State, limit: int) -> list[Effect]:
    """Terminal events of tasks that were waiting when their run was cancelled, `limit` at a time."""
    effects: list[Effect] = []
    for run in state.runs.values():
        while run.state is RunState.CANCELLED and run.waiting and len(effects) < limit:
            effects += _fail_unplanted(run, run.waiting.popleft())
    return effects


def _fail_unplanted(run: Run, task: TaskSpec) -> list[Effect]:
    tree = Tree.planted(task.tree_id, 0, len(task.prompt_ids) // 4)
    live = LiveTree(run, task, tree, run.spec.branch.grow(tree), [], status=TreeStatus.FAILED, grown=True)
    live.cut, live.error = "cancelled", "the run was cancelled before this task started"
    run.failed += 1
    return [PersistTree(live), EmitTree(live)]
