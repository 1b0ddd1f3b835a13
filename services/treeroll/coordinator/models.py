"""Which of the service's models a run uses. What cannot work is refused here, before the run exists."""

from collections.abc import Sequence

from treeroll.config import RunConfig
from treeroll.coordinator.records import CLIENT_SCORER
from treeroll.core.model.pool import names
from treeroll.errors import InvalidInput
from treeroll.policies.resolve import build_named
from treeroll.policy.allocate import BudgetAllocator
from treeroll.policy.base import BranchPolicy, Limits
from treeroll.policy.route import RoutePolicy


def run_models(config: RunConfig, route: RoutePolicy | None, pools: Sequence[str]) -> tuple[str, ...]:
    """The pools in which the run's trees may grow, of those that the service has. InvalidInput for others."""
    if route is not None:
        who = f"route policy '{config.route['name']}' sends tasks to {names(route.models)}"
        _check_served(route.models, pools, who)
        return route.models
    if config.model is not None:
        _check_served((config.model,), pools, f"model is '{config.model}'")
        return (config.model,)
    if len(pools) > 1:
        raise InvalidInput(
            f"this service serves {names(pools)}; set model to the one that is to grow the run's trees, or route.name"
        )
    return tuple(pools)


def check_branch_models(branch: BranchPolicy, name: str, pools: Sequence[str]) -> None:
    """InvalidInput for a branch policy of this name if nobody would serve its branches."""
    wanted = branch.needs.models
    _check_served(wanted, pools, f"branch policy '{name}' has branches served by {names(wanted)}")


def _check_served(wanted: Sequence[str], pools: Sequence[str], who: str) -> None:
    """InvalidInput, which begins with `who` wants these models, unless all of them are served."""
    if not set(wanted) <= set(pools):
        hint = "; name models in generator.pools" if tuple(pools) == ("",) else ""
        raise InvalidInput(f"{who}, but this service serves {names(pools)}{hint}")


def route_policy(config: RunConfig, limits: Limits, allocate: BudgetAllocator | None) -> RoutePolicy | None:
    """Who says which model grows each task's tree, None if there is nothing to say."""
    if not config.route:
        return None
    built: RoutePolicy = build_named("route", config.route, limits)
    name = config.route["name"]
    if config.model is not None:
        raise InvalidInput(
            f"model is '{config.model}', but route policy '{name}' says which model it is; set one of the two"
        )
    if built.success is not None and config.scorer in (None, CLIENT_SCORER):
        raise InvalidInput(
            f"route policy '{name}' goes by how often tasks succeed, but scorer is {config.scorer!r}, so nobody here "
            "knows; set scorer"
        )
    shared = None if allocate is None else allocate.success
    if None not in (shared, built.success) and shared != built.success:
        raise InvalidInput(
            f"allocate.success is {shared:g} and route.success is {built.success:g}; a task has one history, so set "
            "both alike"
        )
    return built
