"""Which of the service's models a run uses. What the service does not serve is refused here, before the run exists."""

from collections.abc import Sequence

from treeroll.config import RunConfig
from treeroll.core.pool import names
from treeroll.errors import InvalidInput


def run_models(config: RunConfig, pools: Sequence[str]) -> tuple[str, ...]:
    """The pools in which the run's trees may grow, of those that the service has. InvalidInput for others."""
    if config.model is not None:
        check_served((config.model,), pools, f"model is '{config.model}'")
        return (config.model,)
    if len(pools) > 1:
        raise InvalidInput(f"this service serves {names(pools)}; set model to the one that is to grow the run's trees")
    return tuple(pools)


def check_served(wanted: Sequence[str], pools: Sequence[str], who: str) -> None:
    """InvalidInput, which begins with `who` wants these models, unless all of them are served."""
    if set(wanted) <= set(pools):
        return
    hint = "; name models in generator.pools" if tuple(pools) == ("",) else ""
    raise InvalidInput(f"{who}, but this service serves {names(pools)}{hint}")
