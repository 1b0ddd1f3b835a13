"""Branches go to whoever is free first."""

from typing import ClassVar

from treeroll.policy import base
from treeroll.policy.base import Limits


class LeastLoaded:
    """One common queue. The best balance and the worst prefix reuse: every other replica recomputes the prefix."""

    name: ClassVar[str] = "least_loaded"
    summary: ClassVar[str] = "whichever replica is free first"
    paper: ClassVar[str] = "ours"
    steal_margin: float | None = 0.0

    class Params(base.Params):
        """Nothing to set."""

    def __init__(self, params: Params, limits: Limits) -> None:
        pass

    def home(self, parent_replica: str, replicas: list[str], placements: int) -> str | None:
        """Never a particular replica."""
        return None
