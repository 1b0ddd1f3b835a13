"""Branches go to the replicas in turn."""

from typing import ClassVar

from treeroll.policy import base
from treeroll.policy.base import Limits


class RoundRobin:
    """The baseline: blind to load and cache, and nobody helps out, so that a comparison measures exactly this."""

    name: ClassVar[str] = "round_robin"
    summary: ClassVar[str] = "each replica in turn, whatever its load"
    paper: ClassVar[str] = "ours (baseline)"
    steal_margin: float | None = None

    class Params(base.Params):
        """Nothing to set."""

    def __init__(self, params: Params, limits: Limits) -> None:
        pass

    def home(self, parent_replica: str, replicas: list[str], placements: int) -> str | None:
        """The next in turn."""
        return replicas[placements % len(replicas)] if replicas else None
