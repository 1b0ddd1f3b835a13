"""Memories that outlast the service: restored from what was told of them, as JSON, they go on."""

import json
from typing import Any, Final

from treeroll.policy.memory import Lasting
from treeroll.testing.case import Case

LASTING: Final = ("changes", "restore")


def restored(case: Case, memory: Lasting, fresh: Lasting, parts: dict[str, Any]) -> Lasting:
    """`fresh` in the place of `memory`, of which `parts` are what it has told so far."""
    try:
        told = json.loads(json.dumps(dict(memory.changes())))
        parts.update(told)
        fresh.restore(dict(parts))
    except Exception as error:  # whatever a memory may raise
        raise case.broken("Lasts", f"cannot be restored: {type(error).__name__}: {error}") from error
    return fresh


def check_lasting(case: Case, memory: object) -> bool:
    """Whether it outlasts the service; NotConformant for one that half does."""
    lasts = isinstance(memory, Lasting)
    half = [name for name in LASTING if hasattr(memory, name)]
    case.require(lasts or not half, "Lasts", f"has {half}: a memory that outlasts the service has {LASTING}")
    return lasts
