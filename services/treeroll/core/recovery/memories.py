"""What a run's policies and books remembered, given back to a run that another coordinator goes on with."""

import json
from collections.abc import Mapping
from typing import Any

from treeroll.core.budget.accounts import charge_task
from treeroll.core.guard.memories import ALLOCATE, ROUTE, TASK, opened
from treeroll.core.model.run import Run
from treeroll.policy.allocate import BudgetAllocator
from treeroll.policy.memory import Lasting
from treeroll.policy.route import RoutePolicy


def restore(run: Run, stored: Mapping[str, str]) -> None:
    """Give a run that nothing has happened to yet what was noted. Raises whatever a policy raises."""
    parts: dict[str, dict[str, Any]] = {}
    for name, value in stored.items():
        kind, slash, part = name.partition("/")
        known = parts.setdefault(kind, {})
        if slash:
            known[part] = json.loads(value)
    if ALLOCATE in parts and run.spec.allocate is not None:
        run.allocation = _restored(run.spec.allocate, run.spec.seed, "allocate", parts[ALLOCATE])
    if ROUTE in parts and run.spec.route is not None:
        run.routing = _restored(run.spec.route, run.spec.seed, "route", parts[ROUTE])
    for task_id, spent in parts.get(TASK, {}).items():
        run.task_ended[task_id] = spent
        charge_task(run, task_id, spent)


def _restored(policy: BudgetAllocator | RoutePolicy, seed: int, asked: str, parts: Mapping[str, Any]) -> Any:
    memory = opened(policy, seed, asked)
    if isinstance(memory, Lasting):
        memory.restore(parts)
    return memory
