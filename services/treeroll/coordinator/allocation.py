"""A run's allocator of leaves from its configuration, and what was known before.

Everything that cannot work is refused here, before the run exists.
"""

from treeroll.config import RunConfig
from treeroll.coordinator.budgets import total_tokens
from treeroll.coordinator.records import CLIENT_SCORER
from treeroll.core.model.history import Decay, History, Record
from treeroll.errors import InvalidInput
from treeroll.policies.resolve import Resolution, build_named
from treeroll.policy.allocate import BudgetAllocator, Need


def success_history(config: RunConfig, stored: dict[str, str]) -> History:
    """What the run's allocator and route start with: their own, or that of the run it names."""
    decay = Decay(config.history_decay, config.history_version_decay)
    if config.history_from is None:
        return History(decay)
    if not config.allocate and not config.route:
        raise InvalidInput(
            f"history_from is '{config.history_from}', but the run has no allocator and no route: set allocate.name or "
            "route.name"
        )
    return History.taken_over(stored, decay, f"history_from: run '{config.history_from}'")


def own_history(config: RunConfig, stored: dict[str, str]) -> History:
    """What a run has learnt, with what it took over when it began."""
    decay = Decay(config.history_decay, config.history_version_decay)
    return History(decay, {task_id: Record.read(text) for task_id, text in stored.items()})


def allocator(config: RunConfig, resolution: Resolution) -> BudgetAllocator | None:
    """The run's allocator, None if every task gets `leaves`."""
    if not config.allocate:
        return None
    built: BudgetAllocator = build_named("allocate", config.allocate, resolution.limits)
    name = config.allocate["name"]
    if built.success is not None and config.scorer in (None, CLIENT_SCORER):
        raise InvalidInput(
            f"allocate policy '{name}' shares leaves out by how often tasks succeed, but scorer is {config.scorer!r}, "
            "so nobody here knows; set scorer"
        )
    if built.needs and not set(built.needs) & _limited(config):
        keys = {"tokens": "budget_tokens", "seconds": "budget.seconds or budget.deadline"}
        raise InvalidInput(
            f"allocate policy '{name}' shares out what is left, but nothing is limited; set "
            f"{' or '.join(keys[need] for need in built.needs)}"
        )
    try:
        fewest, most = resolution.growth_of(built.least).max_leaves, resolution.growth_of(built.most).max_leaves
    except InvalidInput as error:
        raise InvalidInput(
            f"allocate policy '{name}' gives a task {built.least} to {built.most} leaves, but then {error}"
        ) from None
    if built.least < built.most and fewest == most:
        raise InvalidInput(
            f"allocate policy '{name}' gives a task {built.least} to {built.most} leaves, but the branch policy grows "
            f"{most} whatever leaves says; choose one that follows leaves: see `treeroll policies`"
        )
    return built


def _limited(config: RunConfig) -> set[Need]:
    """What the run has a total of."""
    timed: set[Need] = {"seconds"} if config.budget.seconds or config.budget.deadline else set()
    tokens: set[Need] = {"tokens"} if total_tokens(config) is not None else set()
    return tokens | timed
