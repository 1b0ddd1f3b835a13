"""treeroll: grow trees of LLM generations under a budget and stream them, with rewards and advantages, to trainers."""

from typing import TYPE_CHECKING, Any

from treeroll import forks as forks  # counts from here on

__version__ = "0.1.0"

if TYPE_CHECKING:
    from treeroll.client import AsyncClient, Client, Run, connect, connect_async
    from treeroll.tasks import read_tasks
    from treeroll.weights.save import save_weights

_HOMES = {
    "connect": "treeroll.client",
    "connect_async": "treeroll.client",
    "Client": "treeroll.client",
    "AsyncClient": "treeroll.client",
    "Run": "treeroll.client",
    "read_tasks": "treeroll.tasks",
    "save_weights": "treeroll.weights.save",
}
__all__ = ["AsyncClient", "Client", "Run", "__version__", "connect", "connect_async", "read_tasks", "save_weights"]


def __getattr__(name: str) -> Any:
    """Load public names on first use, so that importing treeroll inside a replica or the core costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'treeroll' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
