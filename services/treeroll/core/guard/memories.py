"""What a run's allocator, route and budgets by task remember, part by part, so that it outlasts the service.

Parts of an allocator are named "allocate/<name>", of a route "route/<name>"; "allocate" and "route" say that there is a
memory, also if it has told no part. "task/<task id>" is what the task's trees took that have ended.
"""

import json
from typing import Any

from treeroll.core.guard.expansions import Impossible
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.run import Run
from treeroll.core.model.state import State
from treeroll.policy.allocate import BudgetAllocator
from treeroll.policy.memory import Lasting
from treeroll.policy.route import RoutePolicy

ALLOCATE, ROUTE, TASK = "allocate", "route", "task"


def opened(policy: BudgetAllocator | RoutePolicy, seed: int, asked: str) -> Any:
    """A fresh memory, whose method `asked` is asked for what it decides. Raises what is in the way."""
    memory = policy.open(seed)
    if not hasattr(memory, asked):
        raise Impossible(f"opens {memory!r}, which {asked}s nothing")
    return memory


def note_opened(state: State, run: Run, kind: str) -> None:
    """There is a memory from now on."""
    state.memories.append((run, kind, "true"))


def note(state: State, run: Run, kind: str, memory: object) -> None:
    """It may have changed."""
    if isinstance(memory, Lasting):
        for part, value in memory.changes().items():
            state.memories.append((run, f"{kind}/{part}", json.dumps(value)))


def note_ended(state: State, live: LiveTree) -> None:
    """A tree ended whose task may have a budget of its own."""
    run, task_id = live.run, live.task.task_id
    if run.spec.budget.task_tokens is not None:
        run.task_ended[task_id] += live.ledger.spent
        state.memories.append((run, f"{TASK}/{task_id}", str(run.task_ended[task_id])))
